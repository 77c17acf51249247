"""Potential energies of what a checkpoint gave."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from molflow.errors import MolflowError
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


def energies_of(checkpoint: Checkpoint, pieces: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return energies in kJ/mol, infinite for samples that are not finite; None if there are none.

    Parameters
    ----------
    checkpoint : Checkpoint
        Names the system.
    pieces : iterable of ndarray, (frames, n_atoms, 3)
        nm.
    """
    system = force_field_of(checkpoint)
    if system is None:
        return None
    return np.concatenate([_of_piece(system, positions) for positions in pieces])


def _of_piece(system: MolecularSystem, positions: np.ndarray) -> np.ndarray:
    from molflow.md.energies import potential_energies

    result = np.full(len(positions), np.inf)
    finite = np.isfinite(positions).all(axis=(1, 2))
    if finite.any():
        result[finite] = potential_energies(system, positions[finite])
    return result
