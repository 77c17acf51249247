"""The command line: each verb is a thin layer over the Python function of the same name.

Everything heavy is imported inside the verbs, so that ``molflow --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import molflow
from molflow.cli_arguments import (
    CheckpointName,
    Device,
    Farmed,
    Meant,
    Quiet,
    Seed,
    SystemName,
    Threads,
    jobs_of,
    open_for,
    whole_numbers,
)
from molflow.cli_verb import app, verb
from molflow.errors import MolflowError
from molflow.standard_output import without_remarks_of_c_code


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"molflow {molflow.__version__}")
        raise typer.Exit()


@app.callback()
def _molflow(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Strong stochastic flow maps of molecular systems.

    A network learns the solution map of a stochastic differential equation: a few calls turn
    noise into independent conformations, and the same noise gives the same molecule at any
    number of steps.
    """


@verb
def systems() -> None:
    """List the built-in systems and the selections of their atoms."""
    from molflow.systems import built_in_systems, load_system

    for name in built_in_systems():
        system = load_system(name)
        typer.echo(f"{name}\n    {system.description}")
        typer.echo(
            f"    {system.temperature:g} K, friction {system.friction:g}/ps, "
            f"time step {system.timestep:g} fs, constraints: {system.constraints}"
        )
        for key, selection in system.selections.items():
            typer.echo(f"    {name}:{key}  {len(selection.atoms)} atoms, {selection.description}")


from molflow.cli_setup import init  # noqa: E402, F401


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


# Here, so that the list of verbs is in the order of their use.
from molflow.cli_data import prepare  # noqa: E402, F401, I001
import molflow.cli_label  # noqa: E402, F401
import molflow.cli_learn  # noqa: E402, F401
from molflow.cli_training import train  # noqa: E402, F401


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
    others: dict[str, object] = {"--refine": refine, "--flow": flow, "--eta": eta is not None}
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
        progress=not quiet,
        load=False,
        jobs=jobs_of(jobs),
    )
    typer.echo(f"{n} conformations in {out}, topology.pdb beside it.")


def _only(option: str, others: dict[str, object]) -> None:
    for other, given in others.items():
        if given:
            raise MolflowError(f"{other} and {option} are different things: give one.")


# Here, so that the list of verbs is in the order of their use.
import molflow.cli_exact  # noqa: E402, F401
from molflow.cli_comparison import compare, conformers, resample  # noqa: E402, F401


@verb
def check(
    checkpoint: CheckpointName,
    system: Meant = None,
    steps: Annotated[int, typer.Option(help="Network calls a sample, as for sampling.")] = 4,
    n: Annotated[
        int, typer.Option("--n", "-n", help="Number of samples; it sets the size of all checks.")
    ] = 4096,
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    path_seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    jobs: Farmed = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Check a trained map: does it do what such a map must?

    Turns, mirrors, splits and refines its jumps, counts wrong hands and high energies, and runs
    short dynamics from its samples. Each property is passed, failed or left inconclusive, with
    the number and the limit; the exit status is 1 if one failed.

    Example: `molflow check alanine_dipeptide --steps 8`
    """
    from molflow.checking.check import check as run
    from molflow.checking.check import format_findings

    result = run(
        open_for(checkpoint, device, system),
        steps=steps,
        n=n,
        out=out,
        path_seed=path_seed,
        jobs=jobs_of(jobs),
        progress=not quiet,
        device=device,
    )
    typer.echo(format_findings(result))
    if result["verdict"] == "fail":
        raise typer.Exit(1)


@verb
def study(
    checkpoint: CheckpointName,
    out: Annotated[Path, typer.Option(help="Folder for table and figure; resumes what is there.")],
    system: Meant = None,
    steps: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Network calls a sample, separated by commas.")
    ] = "1,2,4,8,16",
    n: Annotated[int, typer.Option("--n", "-n", help="Conformations at each with a seed.")] = 4000,
    seeds: Annotated[int, typer.Option(min=1, help="Number of path seeds.")] = 3,
    reference: Annotated[
        str | None,
        typer.Option(
            help="A built-in system, a folder with a reference.json, or a simulation. Default: "
            "that of the checkpoint's system."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Measure quality against the number of network calls.

    Samples at each number of steps with each seed, scores everything against reference MD, and
    writes a table and a figure with the floors. Can be interrupted: the same command goes on.

    Example: `molflow study alanine_dipeptide --steps 1,2,4,8,16 -n 4000 --out study`
    """
    from molflow.step_study.study import format_study
    from molflow.step_study.study import study as run

    numbers = whole_numbers(steps, "--steps", "numbers of steps", "1,2,4")
    result = run(
        open_for(checkpoint, device, system),
        out,
        steps=numbers,
        n=n,
        seeds=seeds,
        reference=reference,
        progress=not quiet,
        device=device,
    )
    typer.echo(format_study(result))
    typer.echo(f"Table, figure and numbers in {out}.")


# Here, so that the list of verbs is in the order of their use.
import molflow.cli_run  # noqa: E402, F401
from molflow.cli_dynamics import kinetics, propagate  # noqa: E402, F401


@verb
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/demo"),
    n: Annotated[int, typer.Option("--n", "-n", help="Number of conformations.")] = 10000,
    steps: Annotated[int, typer.Option(help="Jumps from noise to molecule.")] = 4,
    path_seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Sample the built-in system from the shipped checkpoint and compare it with reference MD."""
    from molflow.demonstration import demo as run

    run(out=out, n=n, steps=steps, path_seed=path_seed, progress=not quiet)


def main() -> None:
    """Run the command line."""
    without_remarks_of_c_code()
    app()


if __name__ == "__main__":
    main()
