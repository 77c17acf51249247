"""What all benchmarks share: parts that are kept, what a results file says, tables, pictures."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

import molflow
from molflow.errors import MolflowError
from molflow.files import read_json, replacing, writable_folder, write_json

#: Where results are written.
RESULTS = Path(__file__).parent / "results"


def command_line(description: str | None, **defaults: object) -> argparse.ArgumentParser:
    """Return a parser with ``--out``, and what has a default here.

    Parameters
    ----------
    description : str
        Of a module; the first line is shown.
    defaults : object
        ``work`` a folder for finished parts, none if it has to be named, and ``seed``.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    if "seed" in defaults:
        parser.add_argument("--seed", type=int, default=defaults["seed"])
    if "work" in defaults:
        work = defaults["work"]
        parser.add_argument(
            "--work", type=Path, default=work, required=work is None, help="of finished parts"
        )
    parser.add_argument(
        "--out", type=_results_folder, default=RESULTS, help="folder of results, made if need be"
    )
    return parser


def _results_folder(path: str) -> Path:
    try:
        return writable_folder(path)
    except MolflowError as error:  # whose sentence argparse would replace by one of its own
        raise argparse.ArgumentTypeError(str(error)) from error


def once(path: Path, make: Callable[[], dict]) -> dict:
    """Return what a finished part of the run left in a file, or make it now."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def add_part(
    path: Path, name: str, made: object, checkpoint: str | None = None, **versions: str
) -> dict:
    """Put one part of a benchmark into the summary of its results, and return all of them.

    The file is read anew, because another part may have been written meanwhile; the command that
    made the part is kept beside it, and the hash of the weights of the `checkpoint` that it is of.
    """
    result = read_json(path) if path.is_file() else {"summary": {}}
    result["summary"][name] = made
    result |= environment(**versions)
    result.setdefault("commands", {})[name] = shlex.join(["python", *sys.argv])
    if checkpoint is not None:
        result.setdefault("weights_sha256", {})[name] = checkpoint
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return result


def environment(**versions: str) -> dict:
    """Return machine, versions and date; `versions` adds packages that a benchmark also uses."""
    return {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "device": "cpu",
            "precision": "float32",
        },
        "versions": {
            "molflow": molflow.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            **versions,
        },
        "date": datetime.date.today().isoformat(),
    }


def markdown(heads: Iterable[object], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = [str(head) for head in heads]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def against_steps(axes, steps: Iterable[int], **settings) -> None:
    """Give axes what all pictures of something against numbers of steps have; see `Axes.set`."""
    axes.set(xscale="log", yscale="log", **settings)
    axes.set_xticks(list(steps), [str(k) for k in steps])
    axes.minorticks_off()


def known(row: dict, name: str | None = None) -> tuple[list[int], list[float]]:
    """Return numbers of steps and values of a row by steps, without those that are not known."""
    values = {int(k): v if v is None or name is None else v[name] for k, v in row.items()}
    values = {k: v for k, v in values.items() if v is not None}
    return list(values), list(values.values())


def save(figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def write_results(path: Path, results: dict, machine: dict | None = None, **versions: str) -> None:
    """Write results with what `environment` says, where `machine` says otherwise or more."""
    record = environment(**versions)
    record["machine"] |= machine or {}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**results, **record})
