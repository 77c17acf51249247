"""The verb that makes reference molecular dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Farmed, Quiet, Seed, SystemName, Threads, jobs_of


@verb
def simulate(
    system: SystemName,
    time: Annotated[
        str, typer.Option(help="Length of each replica after equilibration: 500ps, 100ns, 1us.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trajectories; resumes what is there.")],
    replicas: Annotated[int, typer.Option(min=1, help="Number of independent replicas.")] = 4,
    tempering: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH:COUNT",
            help="Replica exchange over a ladder of temperatures, for example 300K:600K:6; "
            "the frames of the lowest are kept.",
        ),
    ] = None,
    flatten: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TORSIONS",
            help="Run under a static bias in one or two torsions that metadynamics builds first: "
            "phi,psi or chi1 or four atoms, 4-6-8-14. Frames get weights. Give it again for more "
            "terms.",
        ),
    ] = None,
    cap: Annotated[
        float, typer.Option(min=0, help="With --flatten: flatten free energy up to this, kJ/mol.")
    ] = 45.0,
    building: Annotated[
        str, typer.Option(help="With --flatten: time of the metadynamics that builds the bias.")
    ] = "4ns",
    frame_interval: Annotated[str, typer.Option(help="Time between frames.")] = "1ps",
    equilibration: Annotated[str, typer.Option(help="Time thrown away first.")] = "100ps",
    platform: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:DEVICE][:PRECISION]",
            help="OpenMM platform: Reference, CPU, CUDA, CUDA:1, OpenCL:0:mixed. Default: the "
            "fastest.",
        ),
    ] = None,
    jobs: Farmed = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Run reference molecular dynamics with OpenMM.

    Writes one DCD trajectory and one file of energies for each replica, with topology.pdb and
    simulation.json beside them. Can be interrupted: the same command goes on where it stopped.

    Example: `molflow simulate alanine_dipeptide --time 10ns --flatten phi,psi --out md`
    """
    from molflow.md.simulate import simulate as run

    manifest = run(
        system,
        time,
        replicas=replicas,
        out=out,
        tempering=tempering,
        flatten=flatten or None,
        cap=cap,
        building=building,
        seed=seed,
        frame_interval=frame_interval,
        platform=platform,
        jobs=jobs_of(jobs),
        equilibration=equilibration,
        progress=not quiet,
    )
    if "flattened" in manifest:
        from molflow.analysis.flattened import format_flattened

        typer.echo(format_flattened(manifest["flattened"]))
    typer.echo(f"Simulation in {out}. Next: molflow prepare {out} --out data")
