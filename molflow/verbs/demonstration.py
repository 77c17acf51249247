"""The verb that shows the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Quiet, Threads


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
