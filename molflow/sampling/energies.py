"""Potential energies of what a checkpoint gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import Streamed, replacing
from molflow.parts import kept_array
from molflow.progress import track
from molflow.systems import MolecularSystem, recorded_system
from molflow.training.checkpoint import Checkpoint


def energy_system(record: dict) -> MolecularSystem | str:
    """Return the system that gives energies to what a record speaks of, or why there is none.

    A selection of atoms has no energy, and a record may outlive the files of its system.
    """
    try:
        system = recorded_system(record)
    except MolflowError as error:
        return f"There are no energies: {error}"
    if system.variant is not None:
        return "Some of the atoms of a molecule have no energy of their own."
    return system


def force_field_of(checkpoint: Checkpoint) -> MolecularSystem | None:
    """Return the system whose Boltzmann law the checkpoint learned, if it has forces here."""
    found = energy_system(checkpoint.description)
    return None if isinstance(found, str) else found


def energies_of(
    checkpoint: Checkpoint,
    pieces: Iterable[np.ndarray],
    n: int,
    parts: Path | None = None,
    jobs: Jobs = None,
    progress: bool = False,
) -> Streamed | None:
    """Return energies in kJ/mol, infinite for samples that are not finite; None if there are none.

    Parameters
    ----------
    checkpoint : Checkpoint
        Names the system.
    pieces : iterable of ndarray, (frames, n_atoms, 3)
        nm; n frames in all, of which few are in memory at once.
    n : int
    parts : Path, optional
        Folder in which finished parts are kept, and from which they are taken.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default as many as pay. Energies do
        not depend on it.
    progress : bool
    """
    system = force_field_of(checkpoint)
    if system is None:
        return None
    from molflow.md.energies import EnergyWorkers, part_size, sensible_jobs

    size = part_size(system, n)
    # By their first conformation, so that parts of another size are never taken for these.
    names: list[Path | None] = [
        None if parts is None else parts / f"energies-from-{first:07d}.npy"
        for first in range(0, n, size)
    ]
    found: dict[int, np.ndarray] = {}
    kept = [kept_array(name, min(size, n - k * size)) is not None for k, name in enumerate(names)]

    finite: dict[int, np.ndarray] = {}

    def todo() -> Iterator[tuple[int, np.ndarray]]:
        for k, positions in enumerate(_cut(pieces, size)):
            if not kept[k]:
                finite[k] = np.isfinite(positions).all(axis=(1, 2))
                yield k, positions[finite[k]].astype(np.float64)

    missing = kept.count(False)
    with EnergyWorkers(system, sensible_jobs(system, missing * size, jobs)) as workers:
        done = workers.each(todo(), forces=False)
        for k, evaluated in track(done, "energies", progress and missing > 0, missing):
            rows = finite.pop(k)
            values = np.full(len(rows), np.inf)
            values[rows] = evaluated.energies
            if (name := names[k]) is None:
                found[k] = values
            else:
                with replacing(name) as temporary:
                    np.save(temporary, values)
    stored = (found[k] if name is None else np.load(name) for k, name in enumerate(names))
    return Streamed((n,), np.dtype(np.float64), stored)


def _cut(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the same frames, so many at once."""
    held: list[np.ndarray] = []
    for piece in pieces:
        for frames in np.split(piece, range(size - sum(map(len, held)), len(piece), size)):
            held.append(frames)
            if sum(map(len, held)) == size:
                yield np.concatenate(held)
                held = []
    if held and sum(map(len, held)):
        yield np.concatenate(held)
