"""Arguments and options that several verbs of the command line have."""

from __future__ import annotations

from typing import Annotated

import typer

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
Seed = Annotated[int, typer.Option(min=0, help="Everything random follows from it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
