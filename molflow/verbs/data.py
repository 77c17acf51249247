"""The verb that makes a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.errors import MolflowError
from molflow.verbs.app import verb
from molflow.verbs.arguments import Threads, whole_numbers


def _replica_numbers(text: str | None, option: str) -> list[int] | None:
    """Turn ``"0,1,2"`` into a list of numbers of replicas."""
    return None if text is None else whole_numbers(text, option, "numbers of replicas", "0,1,2")


def _friction_range(text: str | None) -> tuple[str, str] | None:
    """Turn ``"0.1/ps,10/ps"`` into its two parts."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2:
        raise MolflowError(f"--frictions is '{text}': write two, for example 0.1/ps,10/ps.")
    return words[0], words[1]


@verb
def prepare(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER|FILES",
            help="What molflow simulate wrote, or trajectories that were made elsewhere.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the training set.")],
    system: Annotated[
        str | None,
        typer.Option(help="NAME:SELECTION to keep some of the atoms. Default: what was simulated."),
    ] = None,
    top: Annotated[
        Path | None, typer.Option(help="With trajectories: their topology (PDB, PSF, PRMTOP, GRO).")
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(help="With trajectories: that of their frames, such as 300K.")
    ] = None,
    frame_interval: Annotated[
        str | None, typer.Option(help="With trajectories: time between frames, such as 1ps.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="With trajectories: weights of all frames (.npz, .npy or text)."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(metavar="REPLICAS", help="Replicas to train on, for example 0,1,2."),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(metavar="REPLICAS", help="Replicas to validate on: 3, or '' for none."),
    ] = None,
    forces: Annotated[
        bool, typer.Option("--forces", help="Add the forces on all frames, for maps of dynamics.")
    ] = False,
    hot: Annotated[
        str | None, typer.Option(help="With --forces: add frames that are as hot as that, 600K.")
    ] = None,
    paths: Annotated[
        int | None,
        typer.Option(min=1, help="With --forces: add so many paths of 40 fs under the true force."),
    ] = None,
    frictions: Annotated[
        str | None,
        typer.Option(help="Range of their friction: 0.1/ps,10/ps. Default: about the system's."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Make a training set of a simulation, or of trajectories made elsewhere, split by replica.

    Replicas that are in neither list are held out: no frame of theirs is ever trained on.

    Example: `molflow prepare md --out data --forces --hot 600K --paths 20000`
    """
    from molflow.preparation import prepare as run

    parts = _replica_numbers(train, "--train"), _replica_numbers(validation, "--validation")
    manifest = run(
        source, out, system, *parts,
        top=top, temperature=temperature, frame_interval=frame_interval, weights=weights,
        forces=forces, hot=hot, paths=paths, frictions=_friction_range(frictions),
    )  # fmt: skip
    for sentence in manifest["lacks"]:
        typer.echo(f"Note: {sentence}")
    selection = manifest["system"].partition(":")[1:]
    name = (
        "".join((manifest["system_path"], *selection))
        if manifest["system_path"]
        else (manifest["system"])
    )
    typer.echo(f"Training set in {out}. Next: molflow train {name} --data {out} --out run")
