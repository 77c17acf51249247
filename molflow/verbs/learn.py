"""The verb that learns a dear potential from as few labels as will do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Farmed, Quiet, Seed, SystemName, Threads, jobs_of


@verb
def learn(
    system: SystemName,
    out: Annotated[Path, typer.Option(help="Folder for everything; resumes what is there.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of the trainings."),
    ] = None,
    labels: Annotated[int, typer.Option(help="Forces of the potential at most.")] = 20_000,
    budget: Annotated[str, typer.Option(help="Wall-clock time: 4h, 20min.")] = "4h",
    frames: Annotated[
        Path | None,
        typer.Option(
            help="Training set or trajectory of a cheap surrogate to begin with. Default: short "
            "dynamics under the potential."
        ),
    ] = None,
    limit: Annotated[
        float, typer.Option(help="Disagreement of two maps over the force that is enough.")
    ] = 0.02,
    top: Annotated[
        Path | None,
        typer.Option(help="Topology of a trajectory. Default: topology.pdb beside it."),
    ] = None,
    jobs: Farmed = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Learn a map of dynamics of a dear potential from frames that it looks for itself.

    Labels, trains two maps, has chains of the first make new frames, labels those that the two
    disagree on most, and goes on until they agree, or labels or time are spent. Says which, and
    which molecules broke or reacted. Can be interrupted: the same command goes on.

    Example: `molflow learn my_molecule_xtb --frames data --labels 20000 --budget 4h --out run`
    """
    from molflow.active.learn import learn as run

    result = run(
        system, out, labels, budget, frames, limit, overrides or (), top, seed, jobs_of(jobs),
        progress=not quiet,
    )  # fmt: skip
    for sentence in result["account"]:
        typer.echo(sentence)
    typer.echo(f"Map in {out / 'checkpoint'}, curve in {out / 'curve.png'}.")
