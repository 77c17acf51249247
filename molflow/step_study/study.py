"""`molflow study`: table and figure of quality against network calls, for any checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import molflow
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.files import replacing, writable_folder, write_json, write_text
from molflow.parts import alone_in
from molflow.progress import track
from molflow.step_study.figure import draw
from molflow.step_study.pieces import FINEST, SAME_PATH_N, Pieces
from molflow.step_study.summary import summarise, table
from molflow.training.checkpoint import Checkpoint, open_checkpoint


@alone_in
def study(
    checkpoint: str | Path | Checkpoint,
    out: str | Path,
    steps: Sequence[int] = (1, 2, 4, 8, 16),
    n: int = 4000,
    seeds: int = 3,
    reference: str | Path | None = None,
    progress: bool = True,
    device: str | None = None,
) -> dict:
    """Sample at several numbers of steps, score every ensemble, and put the scores together.

    What is done is kept in the folder, so that the same call, or one with more steps or seeds,
    goes on from there.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        Built-in system name, path of a checkpoint or run folder, or a loaded one.
    out : path
        Folder for ``study.json``, ``study.md`` (the table), ``study.png``, ``study.pdf`` and the
        folder ``pieces``.
    steps : sequence of int
        Network calls a sample.
    n : int
        Conformations at each number of steps with each seed.
    seeds : int
        Path seeds, 0 to `seeds` − 1; the spread over them is shown.
    reference : str or path, optional
        A built-in system, a folder with ``reference.json``, or a simulation folder; by default
        that of the checkpoint's system.
    progress : bool
        Whether to show a progress bar.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, as for `molflow.sample`.

    Returns
    -------
    dict
        ``summary`` with ``quality`` (by number of steps, means over seeds), ``same_path_rmsd_nm``
        and ``samples_per_second``; ``per_seed``; ``n``, ``path_seeds``, ``checkpoint``,
        ``reference``.

    Raises
    ------
    MolflowError
        If an argument is impossible, or checkpoint or reference do not exist.
    """
    steps = sorted(set(steps))
    for name, value in (("n", n), ("seeds", seeds), *(("steps", value) for value in steps)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise MolflowError(f"{name} is {value!r}: it must be a whole number, at least 1.")
    if not steps:
        raise MolflowError("steps is empty: give one number of network calls at least.")
    checkpoint = open_checkpoint(checkpoint, device)
    checkpoint.check_use("sample")
    if reference is None:
        described = checkpoint.description
        reference = described.get("system_path") or described["system"]
    truth = find_reference(reference)
    out = writable_folder(out)
    pieces = Pieces(out / "pieces", checkpoint, reference, truth, n)
    todo = [*product(steps, range(seeds)), *((nfe, None) for nfe in steps)]
    found = {
        (nfe, seed): pieces.same_path(nfe) if seed is None else pieces.score(nfe, seed)
        for nfe, seed in track(todo, "scoring", progress)
    }
    per_seed = {str(nfe): [found[nfe, seed]["figures"] for seed in range(seeds)] for nfe in steps}
    seconds = {nfe: sum(found[nfe, seed]["seconds"] for seed in range(seeds)) for nfe in steps}
    closeness = {str(nfe): _without(found[nfe, None], "unrelated") for nfe in steps}
    result: dict[str, Any] = {
        "summary": {
            "quality": {nfe: summarise(rows) for nfe, rows in per_seed.items()},
            "samples_per_second": {str(k): round(n * seeds / s, 1) for k, s in seconds.items()},
            "same_path_rmsd_nm": closeness
            | {
                "unrelated": found[steps[0], None]["unrelated"],
                "finest": FINEST,
                "n": SAME_PATH_N,
            },
        },
        "per_seed": per_seed,
        "n": n,
        "path_seeds": list(range(seeds)),
        "checkpoint": {
            "weights_sha256": checkpoint.weights_hash,
            "parameters": checkpoint.description.get("parameters"),
            "split": checkpoint.description["split"],
        },
        "reference": {"system": truth.system, "ensemble_hash": truth.ensemble_hash},
        "molflow": molflow.__version__,
    }
    write_json(out / "study.json", result)
    write_text(out / "study.md", format_study(result) + "\n")
    figure = draw(result["summary"])
    for name in ("study.png", "study.pdf"):
        with replacing(out / name) as temporary:
            figure.savefig(temporary, dpi=200)
    return result


def _without(entries: dict, key: str) -> dict:
    return {name: value for name, value in entries.items() if name != key}


def format_study(result: dict) -> str:
    """Return the table of a study in Markdown."""
    return table(result["summary"]["quality"], result["n"] * len(result["path_seeds"]))
