"""The verb that draws conformations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.errors import MolflowError
from molflow.verbs.app import verb
from molflow.verbs.arguments import (
    CheckpointName,
    Compiled,
    Device,
    Farmed,
    Meant,
    Quiet,
    Threads,
    jobs_of,
    open_for,
)


@verb
def sample(
    checkpoint: CheckpointName,
    system: Meant = None,
    steps: Annotated[
        int, typer.Option(help="Jumps from noise to molecule: network calls a sample.")
    ] = 4,
    n: Annotated[int, typer.Option("--n", "-n", help="Number of conformations.")] = 1000,
    out: Annotated[
        Path, typer.Option(help="Trajectory to write: .dcd, .h5, .xtc (rounds) or .pdb.")
    ] = Path("ensemble.dcd"),
    path_seed: Annotated[
        int,
        typer.Option(
            help="Seed of everything random: start and Brownian paths. The same seed at another "
            "number of steps gives the same conformations as nearly as the map is exact.",
        ),
    ] = 0,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Conformations a network call.")] = 256,
    energies: Annotated[
        bool, typer.Option(help="Compute potential energies with OpenMM beside the file.")
    ] = True,
    refine: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Refine every conformation by so many steps of damped dynamics, as molflow refine "
            "does; 200 bring energies to temperature.",
        ),
    ] = None,
    flow: Annotated[
        bool,
        typer.Option(
            "--flow", help="Follow the probability flow that the map contains, without paths."
        ),
    ] = False,
    eta: Annotated[
        float | None,
        typer.Option(
            help="Stochasticity, of a map that was trained with it as an input (map.etas); 1 is "
            "the ancestral map, 0 the deterministic one. Default: map.eta."
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="float32|bfloat16",
            help="Of the network's matrix products; bfloat16 is faster where the processor or GPU "
            "has it, at slightly wider bonds and the same basins.",
        ),
    ] = "float32",
    compiled: Compiled = False,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="Give every conformation its Boltzmann weight: the flow's density by exact "
            "Jacobians, the last step by annealing under the force field.",
        ),
    ] = False,
    stop: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="With --weights: noise at which the force field takes over, in units of the "
            "spread of the data. Default: 0.12; 0 for none of it.",
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="Steer by energies in kJ/mol that this function gives for an mdtraj trajectory, "
            "as if they were added to the force field. The file is run. Conformations get weights.",
        ),
    ] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            metavar="KELVIN",
            help="With --weights: temperature of the Boltzmann law that the weights are for. "
            "Default: the system's.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="SYSTEM",
            help="With --weights: weigh for the force field of this system, of the same atoms.",
        ),
    ] = None,
    strata: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="With --weights: of -n draws weigh so many of each basin, "
            "beta=300,alpha_r=300,alpha_l=400.",
        ),
    ] = None,
    jobs: Farmed = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Sample independent conformations from a trained map.

    Writes exactly the number asked for, with topology.pdb and a record of seeds and cost beside
    the trajectory. Nothing is dropped or repaired. Can be interrupted: the same command goes on.

    Example: `molflow sample alanine_dipeptide --steps 4 -n 10000 --out ensemble.dcd`
    """
    others: dict[str, object] = {
        "--refine": refine, "--flow": flow, "--eta": eta is not None, "--compile": compiled,
        "--precision": precision != "float32",
    }  # fmt: skip
    opened = open_for(checkpoint, device, system, jobs)
    if weights:
        from molflow.exact.weighted import sample_and_tell

        _only("--weights", others | {"--reward": reward})
        told = sample_and_tell(
            opened,
            n,
            out,
            steps,
            stop,
            path_seed,
            device,
            jobs_of(jobs),
            quiet,
            temperature,
            target,
            strata,
        )
        typer.echo(told)
        return
    alone = {
        "--stop": stop, "--temperature": temperature, "--target": target, "--strata": strata,
    }  # fmt: skip
    for option, value in alone.items():
        if value is not None:
            raise MolflowError(f"{option} is {value}, but --weights is missing: give both.")
    if reward is not None:
        from molflow.exact.steered import format_steered, sample_steered

        _only("--reward", others | {"--jobs": jobs})
        _, steered = sample_steered(
            opened, reward, n, out, steps, path_seed=path_seed, device=device,
            progress=not quiet,
        )  # fmt: skip
        typer.echo(f"{n} conformations in {out}, log_weights in the .npz beside it.")
        typer.echo(format_steered(steered["record"]))
        return
    from molflow.sampling.ensemble import sample as run

    run(
        opened,
        steps=steps,
        n=n,
        out=out,
        path_seed=path_seed,
        device=device,
        batch_size=batch_size,
        energies=energies,
        refine=refine,
        flow=flow,
        eta=eta,
        precision=precision,
        compiled=compiled,
        progress=not quiet,
        load=False,
        jobs=jobs_of(jobs),
    )
    typer.echo(f"{n} conformations in {out}, topology.pdb beside it.")


def _only(option: str, others: dict[str, object]) -> None:
    for other, given in others.items():
        if given:
            raise MolflowError(f"{other} and {option} are different things: give one.")
