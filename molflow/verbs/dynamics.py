"""The verbs of dynamics: trajectories from a map, and how fast their slow motions are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import (
    CheckpointName,
    Compiled,
    Device,
    Farmed,
    Quiet,
    Seed,
    Threads,
    jobs_of,
)


@verb
def propagate(
    checkpoint: CheckpointName,
    start: Annotated[
        Path, typer.Option(help="Structure or trajectory with all atoms to start from.")
    ],
    time: Annotated[str, typer.Option(help="Length of every chain: 500ps, 1ns.")],
    lag: Annotated[
        str, typer.Option(help="Length of a step: 20fs; up to the longest of the training.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Trajectory to write, one chain after the other: .dcd, .h5, .xtc, .pdb."),
    ] = Path("trajectory.dcd"),
    chains: Annotated[int, typer.Option(help="Independent trajectories.")] = 64,
    save: Annotated[str, typer.Option(help="Time between frames.")] = "1ps",
    temperature: Annotated[
        str | None, typer.Option(help="Such as 350K. Default: that of the training.")
    ] = None,
    friction: Annotated[
        str | None, typer.Option(help="Such as 10/ps. Default: that of the training.")
    ] = None,
    path_seed: Annotated[
        int,
        typer.Option(
            help="Seed of velocities and Brownian paths. The same seed at another lag follows the "
            "same paths.",
        ),
    ] = 0,
    device: Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Chains that walk together, in one network call; a process has so many at a time. "
            "Default: 16, on a GPU 256."
        ),
    ] = None,
    compiled: Compiled = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with the others when a chain breaks.")
    ] = False,
    residual_noise: Annotated[
        bool,
        typer.Option(
            "--residual-noise", help="Add the learned noise that keeps vibrations from cooling."
        ),
    ] = False,
    energies: Annotated[
        bool, typer.Option(help="Compute potential energies with OpenMM beside the file.")
    ] = True,
    jobs: Farmed = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Propagate molecules in large steps by a trained map of Langevin dynamics.

    Writes frames at equal times, with topology.pdb, velocities and a record of temperatures and
    cost beside the trajectory; molflow compare and molflow kinetics read it. Stops with a sentence
    when a molecule breaks. Can be interrupted: the same command goes on.

    Example: `molflow propagate run/checkpoint --start molecule.pdb --time 1ns --lag 20fs`
    """
    from molflow.propagation.propagate import propagate as run
    from molflow.propagation.record import summary

    run(
        checkpoint,
        start,
        time,
        lag,
        out,
        chains=chains,
        save=save,
        temperature=temperature,
        friction=friction,
        path_seed=path_seed,
        device=device,
        batch_size=batch_size,
        compiled=compiled,
        keep_going=keep_going,
        residual_noise=residual_noise,
        energies=energies,
        progress=not quiet,
        load=False,
        jobs=jobs_of(jobs),
    )
    typer.echo(summary(out))


@verb
def kinetics(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE",
            help="A built-in system, a folder with a reference.json, a simulation, or a "
            "trajectory; of plain dynamics, without tempering.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the slow modes, numbers and a figure.")],
    lag: Annotated[str, typer.Option(help="Lag time of the models: 10ps.")] = "10ps",
    states: Annotated[int, typer.Option(min=2, help="States of the Markov model.")] = 50,
    top: Annotated[
        Path | None, typer.Option(help="Topology. Default: topology.pdb beside the trajectory.")
    ] = None,
    frame_interval: Annotated[
        str | None,
        typer.Option(help="Time between frames, where the trajectory does not tell it: 1ps."),
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Fit the slow modes of plain molecular dynamics and tell how fast they are.

    Implied time scales, the Chapman-Kolmogorov test, passage times between basins and the memory
    of torsions, with intervals; inconclusive where too little was seen.

    Example: `molflow kinetics md --lag 10ps --out kinetics`
    """
    from molflow.slow_motions import format_kinetics
    from molflow.slow_motions import kinetics as run

    result = run(
        reference, out, lag=lag, states=states, seed=seed, top=top, frame_interval=frame_interval
    )
    typer.echo(format_kinetics(result))
    typer.echo(f"Slow modes, numbers and figure in {out}.")
