"""Potential energies of what a checkpoint gave."""

from __future__ import annotations

import numpy as np

from molflow.errors import MolflowError
from molflow.systems import MolecularSystem, load_system
from molflow.training.checkpoint import Checkpoint


def force_field_of(checkpoint: Checkpoint) -> MolecularSystem | None:
    """Return the system whose Boltzmann law the checkpoint learned, if it has forces here.

    A coarse model has none, and a checkpoint may outlive the files of its system.
    """
    try:
        system = load_system(checkpoint.description["system"])
    except MolflowError:
        return None
    if system.variant or system.ensemble_hash != checkpoint.description["ensemble_hash"]:
        return None
    return system


def energies_of(checkpoint: Checkpoint, positions: np.ndarray) -> np.ndarray | None:
    """Return energies in kJ/mol, infinite for samples that are not finite; None if there are none.

    Parameters
    ----------
    checkpoint : Checkpoint
        Names the system.
    positions : ndarray, (n, n_atoms, 3)
        nm.
    """
    from molflow.md.energies import potential_energies

    system = force_field_of(checkpoint)
    if system is None:
        return None
    result = np.full(len(positions), np.inf)
    finite = np.isfinite(positions).all(axis=(1, 2))
    if finite.any():
        result[finite] = potential_energies(system, positions[finite])
    return result
