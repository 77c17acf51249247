"""The verbs that take the error out of what a map gives: refinement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.cli_arguments import Quiet, Seed, Threads
from molflow.cli_verb import verb


@verb
def refine(
    ensemble: Annotated[
        Path,
        typer.Argument(
            metavar="ENSEMBLE", help="Trajectory with all atoms, such as molflow sample wrote."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Trajectory to write: .dcd, .h5, .xtc (rounds) or .pdb.")
    ] = Path("refined.dcd"),
    steps: Annotated[
        int, typer.Option(min=1, help="Time steps of 1 fs for every conformation.")
    ] = 200,
    system: Annotated[
        str | None,
        typer.Option(help="System whose forces are used. Default: the one of the record."),
    ] = None,
    top: Annotated[
        Path | None,
        typer.Option(help="Topology. Default: topology.pdb beside the trajectory."),
    ] = None,
    friction: Annotated[str, typer.Option(help="Of the dynamics.")] = "30/ps",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes at once. Default: one a core.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Refine conformations by short, strongly damped dynamics under the system's forces.

    Brings bonds, angles and energies to temperature; the populations of basins stay those of the
    ensemble. Can be interrupted: the same command goes on.

    Example: `molflow refine ensemble.dcd --steps 200 --out refined.dcd`
    """
    from molflow.refinement.refine import refine as run

    trajectory = run(
        ensemble,
        out,
        steps,
        system=system,
        top=top,
        friction=friction,
        seed=seed,
        jobs=jobs,
        progress=not quiet,
    )
    typer.echo(
        f"{trajectory.n_frames} conformations in {out}, refined; populations are the map's."
    )
