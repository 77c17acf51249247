"""The verbs that ask a map what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import (
    CheckpointName,
    Device,
    Farmed,
    Meant,
    Quiet,
    Threads,
    jobs_of,
    open_for,
    whole_numbers,
)


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
