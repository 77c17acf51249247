"""Conformations laid on each other, and how far they are then apart."""

from __future__ import annotations

import mdtraj
import numpy as np


def heavy_atoms(topology: mdtraj.Topology) -> np.ndarray:
    """Return the indices of atoms that are not hydrogen; all if there are fewer than three."""
    heavy = [a.index for a in topology.atoms if a.element is None or a.element.symbol != "H"]
    return np.array(heavy if len(heavy) > 2 else range(topology.n_atoms))  # three lay a molecule


def superposed(
    positions: np.ndarray, topology: mdtraj.Topology, onto: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return positions (n, n_atoms, 3) laid on one conformation (n_atoms, 3) by heavy atoms.

    By singular values (Kabsch, Acta Cryst. A 32, 922 (1976)): mdtraj's quaternions find no rotation
    where atoms are in one plane, as three always are.
    """
    atoms = heavy_atoms(topology)
    target = np.asarray(onto, np.float64)
    middle = target[atoms].mean(axis=0)
    moved = np.asarray(positions, np.float64)
    moved = moved - moved[:, atoms].mean(axis=1, keepdims=True)
    products = np.einsum("nai,aj->nij", moved[:, atoms], target[atoms] - middle)
    left, _, right = np.linalg.svd(products)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]  # turned, never mirrored
    return (moved @ (left @ right) + middle).astype(np.float32)


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
