"""Distances between conformations that belong together."""

from __future__ import annotations

import mdtraj
import numpy as np


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
        heavy = [a.index for a in topology.atoms if a.element is None or a.element.symbol != "H"]
        atoms = np.array(heavy)
    distances = np.full(len(one), np.inf)
    for k, pair in enumerate(zip(one[:, atoms], other[:, atoms], strict=True)):
        if np.isfinite(pair).all():
            # mdtraj needs no topology for this; building one for each pair would take the time.
            a, b = (mdtraj.Trajectory(xyz[None], None) for xyz in pair)
            distances[k] = mdtraj.rmsd(a, b)[0]
    return distances
