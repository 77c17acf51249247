"""The verb that goes the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Quiet, Seed, SystemName, Threads


@verb
def run(
    system: SystemName,
    out: Annotated[Path, typer.Option(help="Folder for everything; resumes what is there.")],
    budget: Annotated[str, typer.Option(help="Wall-clock time: 1h, 20min.")] = "1h",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Replicas that run at once. Default: one a core.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Training set of molflow prepare, in place of dynamics."),
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Simulate, prepare, train, sample and compare within a budget.

    Dynamics and training end by the clock, the network is chosen by what its training step costs
    here, and all ends in a report and what would help most. Can be interrupted: the same command
    goes on. Holds its time to a tenth, and half a minute for starting; what is too short for the
    least that a run does is refused before any work, with the budget that it would take.

    Example: `molflow run aspirin --budget 1h --out result`
    """
    from molflow.whole_way import run as whole

    result = whole(system, out, budget, seed=seed, jobs=jobs, progress=not quiet, data=data)
    typer.echo(result["verdict"]["headline"])
    for sentence in (*result["account"], *result["advice"]):
        typer.echo(f"  {sentence}")
    shapes = result["conformers"]
    if shapes is not None and "conformers" in shapes:
        from molflow.ranked_conformers import format_conformers

        typer.echo(format_conformers(shapes))
    elif shapes is not None:
        typer.echo(f"  {shapes['notes'][0]}")
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    typer.echo(f"Report in {out / 'report.html'} ({took}).")
