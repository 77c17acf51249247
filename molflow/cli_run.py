"""The verb that goes the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.cli_arguments import Quiet, Seed, SystemName, Threads
from molflow.cli_verb import verb


@verb
def run(
    system: SystemName,
    out: Annotated[Path, typer.Option(help="Folder for everything; resumes what is there.")],
    budget: Annotated[str, typer.Option(help="Wall-clock time: 1h, 20min.")] = "1h",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Replicas that run at once. Default: one a core.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Simulate, prepare, train, sample and compare within a budget.

    Divides the time between dynamics and training by what a step of each costs here, and ends in a
    report and what would help most. Can be interrupted: the same command goes on.

    Example: `molflow run aspirin --budget 1h --out result`
    """
    from molflow.whole_way import run as whole

    result = whole(system, out, budget, seed=seed, jobs=jobs, progress=not quiet)
    typer.echo(result["verdict"]["headline"])
    for sentence in result["advice"]:
        typer.echo(f"  {sentence}")
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    typer.echo(f"Report in {out / 'report.html'} ({took}; {result['training_steps']:,} steps).")
