"""The verb that puts another energy function under frames that are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Farmed, Quiet, jobs_of


@verb
def label(
    frames: Annotated[
        Path,
        typer.Argument(
            metavar="FRAMES",
            help="Training set that molflow prepare wrote, or a trajectory with all atoms.",
        ),
    ],
    system: Annotated[
        str,
        typer.Option(help="Under whose force field or potential: a built-in name or a folder."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the labelled training set.")],
    top: Annotated[
        Path | None,
        typer.Option(help="Topology of a trajectory. Default: topology.pdb beside it."),
    ] = None,
    jobs: Farmed = None,
    quiet: Quiet = False,
) -> None:
    """Compute energies and forces of frames under another force field or potential.

    Writes a training set for maps of dynamics of that system. Frames without an answer and
    molecules that broke or reacted are left out and counted by reason. Can be interrupted: the
    same command goes on.

    Example: `molflow label data --system my_molecule_xtb --out data-xtb`
    """
    from molflow.md.label import label as run
    from molflow.md.label import summary

    manifest = run(frames, system, out, top=top, jobs=jobs_of(jobs), progress=not quiet)
    typer.echo(summary(manifest))
    typer.echo(f"Training set in {out}.")
