"""`molflow train` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Compiled, Device, Quiet, SystemName, Threads


@verb
def train(
    system: SystemName,
    data: Annotated[
        list[Path],
        typer.Option(
            help="Training set that molflow prepare wrote. For several systems give it again for "
            "each, in their order."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; resumes what is there.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SYSTEM]... [KEY=VALUE]...",
            help="More systems, which train one map together; settings that replace the "
            "configuration's.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file. Default: the system's own configuration.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Start from the weights of this checkpoint: a built-in name or a path.",
        ),
    ] = None,
    compiled: Compiled = False,
    captured: Annotated[
        bool,
        typer.Option(
            "--capture",
            help="On a GPU: replay the kernels of a step as CUDA graphs. Steps on small molecules "
            "are several times faster. For maps that sample, with a network of all pairs.",
        ),
    ] = False,
    device: Device = "auto",
    devices: Annotated[
        int | None,
        typer.Option(
            help="Processes a machine that train together, one a device. Default: one, or those "
            "that torchrun or srun started."
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Machines. Default: those of torchrun or srun.")
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Train a strong flow map, of one molecule or of several together.

    Can be interrupted: the same command goes on from the last checkpoint.

    Example: `molflow train alanine_dipeptide --data data --out run`
    """
    from molflow.training.checkpoint import load_checkpoint
    from molflow.training.processes import first_process
    from molflow.training.run import train as run

    more, overrides = told_apart(words)
    checkpoint = run(
        [system, *more],
        data,
        out,
        config=config,
        overrides=overrides,
        start=start,
        compiled=compiled,
        captured=captured,
        progress=not quiet,
        device=device,
        devices=devices,
        nodes=nodes,
    )
    if not first_process():
        return
    following = load_checkpoint(checkpoint, system=system).kind.use
    meant = f" --system {system}" if more else ""
    typer.echo(f"Checkpoint in {checkpoint}. Next: molflow {following} {checkpoint}{meant}")


def told_apart(words: list[str] | None) -> tuple[list[str], list[str]]:
    """Return the words that are names of systems, and those that are settings."""
    given = words or []
    return [word for word in given if "=" not in word], [word for word in given if "=" in word]
