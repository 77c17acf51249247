"""`molflow prepare`: a training set of a simulation or of trajectories, with all that maps need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molflow.data.prepare import prepare as write_training_set
from molflow.errors import MolflowError
from molflow.parts import alone_in
from molflow.systems import MolecularSystem


@alone_in
def prepare(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    system: str | Path | MolecularSystem | None = None,
    train: Sequence[int] | None = None,
    validation: Sequence[int] | None = None,
    *,
    top: str | Path | None = None,
    temperature: str | float | None = None,
    frame_interval: str | float | None = None,
    weights: Any = None,
    forces: bool = False,
    hot: str | float | None = None,
    paths: int | None = None,
    frictions: tuple[Any, Any] | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> dict:
    """Make a training set, split by replica.

    Parameters
    ----------
    source : path, or several
        Folder that `simulate` wrote, or trajectories that were made elsewhere.
    out : path
        Folder of the training set.
    system : str, Path or MolecularSystem, optional
        ``"NAME:SELECTION"`` keeps some of the atoms. By default all of what was simulated.
    train, validation : sequence of int, optional
        Whole runs; those in neither are held out: no frame of theirs is ever trained on.
    top, temperature, frame_interval, weights : optional
        With trajectories: their topology, the temperature of their frames, the time between them
        and their weights, see `molflow.foreign_trajectories.gather`.
    forces : bool
        Whether to add the forces on all frames, for maps of dynamics.
    hot : str, float or quantity, optional
        With `forces`: add frames that are as hot as that.
    paths : int, optional
        With `forces`: add so many paths of 40 fs under the true force.
    frictions : tuple of two, optional
        With `paths`: range of their friction, ``("0.1/ps", "10/ps")``, numbers in 1/ps.
    jobs : int, optional
        Processes for forces and paths; by default one per core.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict
        The content of ``manifest.json``.

    Raises
    ------
    MolflowError
        If arguments do not go together, the source is unfinished or damaged, the split or the
        system does not fit it, or `out` holds another training set.
    """
    for name, value in (("hot", hot), ("paths", paths)):
        if value and not forces:
            raise MolflowError(f"{name} is {value}, but forces is missing: give both or none.")
    if frictions and not paths:
        low, high = frictions
        raise MolflowError(f"frictions is {low},{high}, but paths is missing: give both.")
    between = None if frictions is None else _range(frictions)
    files = [source] if isinstance(source, (str, Path)) else list(source)
    elsewhere = {
        "top": top, "temperature": temperature, "frame_interval": frame_interval,
        "weights": weights,
    }  # fmt: skip
    folder = _one_folder([Path(file) for file in files], system, Path(out), elsewhere)
    manifest = write_training_set(folder, out, system, train, validation)
    if forces:
        from molflow.md.forces import add_forces

        manifest = manifest | add_forces(out, system, hot, jobs=jobs, progress=progress)
    if paths:
        from molflow.driven_paths import add_paths

        manifest = manifest | add_paths(
            out, paths, between, system, jobs=jobs, progress=progress
        )
    return manifest


def _range(frictions: tuple[Any, Any]) -> tuple[float, float]:
    from molflow.units import parse_quantity

    low, high = (parse_quantity(value, "rate", "frictions") for value in frictions)
    return low, high


def _one_folder(files: list[Path], system: Any, out: Path, elsewhere: dict[str, Any]) -> Path:
    """Return the folder of a simulation, made of trajectories if those are given."""
    given = {name: value for name, value in elsewhere.items() if value is not None}
    if len(files) == 1 and files[0].is_dir():
        if given:
            raise MolflowError(
                f"{next(iter(given))} is for trajectories, and '{files[0]}' is a folder: leave it "
                "out."
            )
        return files[0]
    needed = {"system": system, **{k: elsewhere[k] for k in ("temperature", "frame_interval")}}
    missing = [name for name, value in needed.items() if value is None]
    if missing or system is None:
        raise MolflowError(
            f"trajectories made elsewhere ({', '.join(map(str, files[:3]))}) do not say what they "
            f"are of: give {' and '.join(missing)}, or the folder that molflow simulate wrote."
        )
    from molflow.foreign_trajectories import gather

    return gather(files, system, out / "frames", **given)
