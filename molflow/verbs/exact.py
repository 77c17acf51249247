"""The verbs that take the error out of what a map gives: refinement, estimates over levels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.errors import MolflowError
from molflow.verbs.app import verb
from molflow.verbs.arguments import (
    CheckpointName,
    Device,
    Farmed,
    Meant,
    Quiet,
    Seed,
    Threads,
    jobs_of,
    open_for,
    whole_numbers,
)


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
    jobs: Farmed = None,
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
        jobs=jobs_of(jobs),
        progress=not quiet,
    )
    typer.echo(f"{trajectory.n_frames} conformations in {out}, refined; populations are the map's.")


@verb
def estimate(
    checkpoint: CheckpointName,
    name: Annotated[
        str,
        typer.Argument(
            metavar="OBSERVABLE",
            help="share:BASIN (beta, alpha_r, alpha_l), coupling:K (HN and Hα over the K-th phi) "
            "distance:ATOM,ATOM such as distance:ACE1-C,NME3-N, noe:ATOM,ATOM (r⁻⁶) or radius "
            "(of gyration).",
        ),
    ],
    system: Meant = None,
    calls: Annotated[int, typer.Option(help="Network calls in all.")] = 200_000,
    steps: Annotated[
        str, typer.Option(metavar="NUMBERS", help="To choose levels from; the largest is finest.")
    ] = "1,2,4,8,16,32,64",
    out: Annotated[Path | None, typer.Option(help="JSON file; resumes what is there.")] = None,
    flow: Annotated[
        bool,
        typer.Option("--flow", help="Couple the probability flow by its start, not paths."),
    ] = False,
    path_seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Estimate a mean at many network calls from many samples at few, on shared Brownian paths.

    Removes the error of the jumps at a fraction of the cost of sampling at the finest steps; the
    error of the denoiser stays. Chooses levels and numbers of samples by a pilot. Can be
    interrupted: with --out the same command goes on.

    Example: `molflow estimate alanine_dipeptide coupling:1 --calls 200000 --out coupling.json`
    """
    from molflow.exact.estimate import estimate as run
    from molflow.exact.estimate import format_estimate

    numbers = whole_numbers(steps, "--steps", "numbers of steps", "1,2,4")
    result = run(
        open_for(checkpoint, device, system),
        name,
        calls=calls,
        out=out,
        steps=numbers,
        flow=flow,
        path_seed=path_seed,
        device=device,
        progress=not quiet,
    )
    typer.echo(format_estimate(result))


@verb
def restrain(
    ensemble: Annotated[
        Path, typer.Argument(metavar="ENSEMBLE", help="Trajectory, as for compare.")
    ],
    mean: Annotated[
        list[str],
        typer.Option(
            metavar="OBSERVABLE=VALUE",
            help="Mean that an observable (as for molflow estimate) is to have, with its error if "
            "it has one: coupling:1=6.5+-0.3; of noe:ATOM,ATOM the distance in nm. Give it again "
            "for more.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Weights to write, .npz.")] = Path("restrained.npz"),
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights to begin with. Default: those that the ensemble brings."),
    ] = None,
    top: Annotated[
        Path | None, typer.Option(help="Topology. Default: topology.pdb beside the trajectory.")
    ] = None,
) -> None:
    """Weigh an ensemble so that observables have the means of an experiment.

    By maximum entropy: the nearest ensemble that has them. The weights are for compare and
    resample.

    Example: `molflow restrain ensemble.dcd --mean coupling:1=6.5+-0.3 --out restrained.npz`
    """
    from molflow.exact.maximum_entropy import format_restrained
    from molflow.exact.maximum_entropy import restrain as run

    means = dict(_mean(text) for text in mean)
    typer.echo(format_restrained(run(ensemble, means, out, weights=weights, top=top)))


def _mean(text: str) -> tuple[str, tuple[float, float]]:
    name, _, rest = text.partition("=")
    value, _, error = rest.replace("±", "+-").partition("+-")
    try:
        return name.strip(), (float(value), float(error or 0.0))
    except ValueError as wrong:
        raise MolflowError(
            f"--mean is '{text}': write OBSERVABLE=VALUE or OBSERVABLE=VALUE+-ERROR."
        ) from wrong


@verb
def reweight(
    checkpoint: CheckpointName,
    ensemble: Annotated[
        Path,
        typer.Argument(metavar="ENSEMBLE", help="What molflow sample --weights wrote of the map."),
    ],
    system: Meant = None,
    out: Annotated[
        Path, typer.Option(help="Trajectory to write: .dcd, .h5, .xtc (rounds) or .pdb.")
    ] = Path("reweighted.dcd"),
    frames: Annotated[
        int, typer.Option(min=2, help="Frames of dynamics in every basin, a walker each.")
    ] = 96,
    time: Annotated[str, typer.Option(help="How long a walker walks inside its basin.")] = "20ps",
    starts: Annotated[
        Path | None,
        typer.Option(help="Conformations to start from in basins where the map has too few."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    jobs: Farmed = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Find the free energies of basins from a map's weights and dynamics inside each basin.

    Bennett's acceptance ratio between weighted conformations and frames of molecular dynamics that
    are carried back through annealing and flow. Sees what the map misses inside a basin, which no
    effective size shows. Can be interrupted: the same command goes on.

    Example: `molflow reweight alanine_dipeptide weighted.dcd --frames 96 --out reweighted.dcd`
    """
    from molflow.exact.reweight import format_reweighted
    from molflow.exact.reweight import reweight as run

    trajectory, found = run(
        open_for(checkpoint, device, system, jobs), ensemble, out, frames, time, starts, seed,
        device, jobs_of(jobs), progress=not quiet,
    )  # fmt: skip
    typer.echo(f"{trajectory.n_frames} conformations in {out}, log_weights in the .npz beside it.")
    typer.echo(format_reweighted(found["record"]))
