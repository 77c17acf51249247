"""The verb that makes a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.cli_arguments import Threads, whole_numbers
from molflow.cli_verb import verb
from molflow.errors import MolflowError


def _run_numbers(text: str | None, option: str) -> list[int] | None:
    """Turn ``"0,1,2"`` into a list of run numbers."""
    return None if text is None else whole_numbers(text, option, "run numbers", "0,1,2")


def _friction_range(text: str | None) -> tuple[float, float] | None:
    """Turn ``"0.1/ps,10/ps"`` into two numbers per ps."""
    from molflow.units import parse_quantity

    if text is None:
        return None
    words = text.split(",")
    if len(words) != 2:
        raise MolflowError(f"--frictions is '{text}': write two, for example 0.1/ps,10/ps.")
    low, high = (parse_quantity(word.strip(), "rate", "--frictions") for word in words)
    return low, high


def _one_folder(source: list[Path], system: str | None, out: Path, elsewhere: dict) -> Path:
    """Return the folder of a simulation, made of trajectories if those are given."""
    given = {name: value for name, value in elsewhere.items() if value is not None}
    if len(source) == 1 and source[0].is_dir():
        if given:
            option = next(iter(given)).replace("_", "-")
            raise MolflowError(
                f"--{option} is for trajectories, and '{source[0]}' is a folder: leave it out."
            )
        return source[0]
    needed = {"system": system, **{k: elsewhere[k] for k in ("temperature", "frame_interval")}}
    missing = [name.replace("_", "-") for name, value in needed.items() if value is None]
    if missing or system is None:
        raise MolflowError(
            f"trajectories made elsewhere ({', '.join(map(str, source[:3]))}) do not say what they "
            f"are of: give --{' and --'.join(missing)}, or the folder that molflow simulate wrote."
        )
    from molflow.foreign_trajectories import gather

    return gather(source, system, out / "frames", **given)


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
        str | None, typer.Option(metavar="RUNS", help="Replicas to train on, for example 0,1,2.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="RUNS", help="Replicas to validate on: 3, or '' for none.")
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
    from molflow.data.prepare import prepare as run

    for option, value in (("--hot", hot), ("--paths", paths)):
        if value and not forces:
            raise MolflowError(f"{option} is {value}, but --forces is missing: give both or none.")
    if frictions and not paths:
        raise MolflowError(f"--frictions is {frictions}, but --paths is missing: give both.")
    between = _friction_range(frictions)
    runs = _run_numbers(train, "--train"), _run_numbers(validation, "--validation")
    elsewhere = {
        "top": top, "temperature": temperature, "frame_interval": frame_interval,
        "weights": weights,
    }  # fmt: skip
    manifest = run(_one_folder(source, system, out, elsewhere), out, system, *runs)
    if forces:
        from molflow.md.forces import add_forces

        add_forces(out, system, hot)
    if paths:
        from molflow.driven_paths import add_paths

        add_paths(out, paths, between, system)
    for sentence in manifest["lacks"]:
        typer.echo(f"Note: {sentence}")
    selection = manifest["system"].partition(":")[1:]
    name = "".join((manifest["system_path"], *selection)) if manifest["system_path"] else (
        manifest["system"]
    )
    typer.echo(f"Training set in {out}. Next: molflow train {name} --data {out} --out run")
