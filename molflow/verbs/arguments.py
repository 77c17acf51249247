"""Arguments and options that several verbs of the command line have."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from molflow.errors import MolflowError


def _use_threads(count: int | None) -> int | None:
    """Set the number of threads before anything that makes some is imported."""
    if count is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(count)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(count)
    return count


SystemName = Annotated[
    str,
    typer.Argument(
        metavar="SYSTEM",
        help="A built-in name (see: molflow systems), NAME:SELECTION for some of the atoms, or the "
        "path of a folder with a system.yaml.",
    ),
]
CheckpointName = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A built-in system's name, or the folder of a checkpoint or of a run.",
    ),
]
Meant = Annotated[
    str | None,
    typer.Option(
        "--system",
        metavar="SYSTEM",
        help="The molecule, where the map speaks of many: one of those it was trained on or any "
        "other.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda:N", help="Where torch runs; auto is a GPU if there is one."
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the network first; needs a C++ compiler, pays in long runs."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, callback=_use_threads, help="Threads a process. Default: as many as cores."
    ),
]
Farmed = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="N|ADDRESS|FILE",
        help="Processes at once, or the address of a Dask scheduler, or a YAML file of a cluster. "
        "Default: a process a core; where a network is at work by itself, this one.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def open_for(checkpoint: str, device: str, system: str | None, jobs: str | None = None):
    """Return a checkpoint of the molecule that is meant, and say how far that is from the others.

    With a cluster for `jobs` the device is that of its workers, and here it is the processor.

    Raises
    ------
    MolflowError
        If a molecule is named for a map of one.
    """
    from molflow.training.checkpoint import open_checkpoint

    opened = open_checkpoint(
        checkpoint, "cpu" if isinstance(jobs_of(jobs), str) else device, system
    )
    if system is not None and opened.bound_to is None:
        raise MolflowError(
            f"--system is {system}, but the map of '{checkpoint}' speaks of one molecule, "
            f"{opened.description['system']}: leave it out."
        )
    if opened.bound_to is not None:
        typer.echo(opened.description["molecule"]["sentence"])
    return opened


def whole_numbers(text: str, option: str, what: str, example: str) -> list[int]:
    """Turn ``"0,1,2"`` into a list of numbers, an empty text into an empty list."""
    try:
        return [int(word) for word in text.split(",") if text.strip()]
    except ValueError as error:
        raise MolflowError(
            f"{option} is '{text}', which is not a list of {what}: write for example {example}."
        ) from error


def jobs_of(text: str | None) -> int | str | None:
    """Turn what was given for jobs into a number where it is one."""
    return int(text) if text is not None and text.lstrip("-").isdigit() else text
