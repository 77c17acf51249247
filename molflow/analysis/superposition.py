"""Conformations laid on each other, and how far they are then apart."""

from __future__ import annotations

import mdtraj
import numpy as np


def heavy_atoms(topology: mdtraj.Topology) -> np.ndarray:
    """Return the indices of atoms that are not hydrogen; all atoms if there is no other."""
    heavy = [a.index for a in topology.atoms if a.element is None or a.element.symbol != "H"]
    return np.array(heavy if heavy else range(topology.n_atoms))


def superposed(
    positions: np.ndarray, topology: mdtraj.Topology, onto: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return positions (n, n_atoms, 3) laid on one conformation (n_atoms, 3) by heavy atoms."""
    target = mdtraj.Trajectory(onto[None], topology)
    moved = mdtraj.Trajectory(np.array(positions, np.float32), topology)
    return moved.superpose(target, atom_indices=heavy_atoms(topology)).xyz


def paired_rmsd(
    one: np.ndarray, other: np.ndarray, topology: mdtraj.Topology, atoms: np.ndarray | None = None
) -> np.ndarray:
    """Return the RMSD of each conformation to its partner after the best superposition.

    Parameters
    ----------
    one, other : ndarray, (n, n_atoms, 3)
        nm; member k of the one belongs to member k of the other.
    topology : mdtraj.Topology
    atoms : ndarray of int, optional
        To superpose and measure by; heavy atoms by default.

    Returns
    -------
    ndarray, (n,)
        nm; infinite where a conformation is not finite.
    """
    if atoms is None:
        atoms = heavy_atoms(topology)
    distances = np.full(len(one), np.inf)
    for k, pair in enumerate(zip(one[:, atoms], other[:, atoms], strict=True)):
        if np.isfinite(pair).all():
            # mdtraj needs no topology for this; building one for each pair would take the time.
            a, b = (mdtraj.Trajectory(xyz[None], None) for xyz in pair)
            distances[k] = mdtraj.rmsd(a, b)[0]
    return distances
