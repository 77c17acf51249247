"""`molflow check`: every property of a checkpoint, with a number, a limit and a sentence."""

from __future__ import annotations

import time
from pathlib import Path

import molflow
from molflow.analysis.files.own_files import check_own_file
from molflow.checking.finding import FAIL, INCONCLUSIVE, worst
from molflow.checking.registry import CHECKS
from molflow.checking.subject import Subject
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import writable_folder, write_json
from molflow.parts import alone
from molflow.progress import track
from molflow.training.checkpoint import Checkpoint, open_checkpoint


@alone
def check(
    checkpoint: str | Path | Checkpoint,
    steps: int = 4,
    n: int = 4096,
    out: str | Path | None = None,
    path_seed: int = 0,
    jobs: Jobs = None,
    progress: bool = True,
    device: str | None = None,
) -> dict:
    """Examine a trained map without looking at how it was made.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        Built-in system name, path of a checkpoint or run folder, or a loaded one.
    steps : int
        Network calls a sample, for which the findings hold.
    n : int
        Samples; it sets the size of everything. Costlier properties look at a fixed part of
        them: a sixteenth is followed to eight times as many steps, an eighth by molecular
        dynamics. With few, more findings are inconclusive, none is wrong.
    out : path, optional
        JSON file for the result.
    path_seed : int
        Everything random follows from it.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`, for energies and molecular dynamics; by
        default one per core.
    progress : bool
        Whether to show a progress bar.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, as for `molflow.sample`.

    Returns
    -------
    dict
        JSON-safe: ``findings``, a list with ``name``, ``title``, ``verdict`` (pass, fail or
        inconclusive), ``value``, ``limit``, ``interval``, ``unit``, ``sentence`` and ``details``
        of each property (`molflow.checking.finding.Finding`); ``verdict``, the worst of them.

    Raises
    ------
    MolflowError
        If an argument is impossible or there is no such checkpoint.
    """
    for name, value in (("steps", steps), ("n", n)):
        if not isinstance(value, int) or value < 1:
            raise MolflowError(f"{name} is {value!r}: it must be a whole number, at least 1.")
    if out is not None:
        out = Path(out)
        if out.is_dir() or out.suffix.lower() != ".json":
            raise MolflowError(f"out is '{out}': give the name of a JSON file, such as check.json.")
        check_own_file(out, {"findings", "verdict"})
        writable_folder(out.parent)
    checkpoint = open_checkpoint(checkpoint, device)
    checkpoint.check_use("sample")
    subject = Subject(checkpoint, steps, n, path_seed, jobs)
    started = time.perf_counter()
    findings = []
    for examine in track(list(CHECKS.values()), f"checking at {steps} network calls", progress):
        found = examine(subject)
        findings += found if isinstance(found, list) else [found]
    result = {
        "verdict": worst([finding.verdict for finding in findings]),
        "findings": [finding.to_dict() for finding in findings],
        "system": checkpoint.description["system"],
        "weights_sha256": checkpoint.weights_hash,
        "nfe": steps,
        "n": n,
        "path_seed": path_seed,
        "seconds": round(time.perf_counter() - started, 1),
        "molflow": molflow.__version__,
    }
    if out is not None:
        write_json(out, result)
    return result


def format_findings(result: dict) -> str:
    """Return the result of `check` as a table for a terminal, with one line on the whole."""
    from rich.console import Console
    from rich.table import Table

    from molflow.analysis.reporting.report import number

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("property", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("")
    for row in result["findings"]:
        table.add_row(
            row["title"], row["verdict"], number(row["value"], 2), number(row["limit"], 2),
            row["sentence"],
        )  # fmt: skip
    titles = {
        verdict: ", ".join(
            row["title"].lower() for row in result["findings"] if row["verdict"] == verdict
        )
        for verdict in (FAIL, INCONCLUSIVE)
    }
    whole = f"{result['system']} at {result['nfe']} network calls, {result['n']:,} samples: "
    whole += f"failed {titles[FAIL]}" if titles[FAIL] else "nothing failed"
    whole += f"; inconclusive {titles[INCONCLUSIVE]}." if titles[INCONCLUSIVE] else "."
    console = Console(width=100, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
        console.print(f"\n{whole}", soft_wrap=True)
    return captured.get()
