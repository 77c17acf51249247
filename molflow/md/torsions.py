"""Backbone torsions of many frames, in NumPy and double precision."""

from __future__ import annotations

import numpy as np

from molflow.systems import MolecularSystem


def wrap(angle):
    """Return the angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def torsion(frames: np.ndarray, atoms: list[int]) -> np.ndarray:
    """Return a torsion in radians (IUPAC sign) of frames (n, n_atoms, 3), shape (n,)."""
    a, b, c, d = (frames[:, i].astype(np.float64) for i in atoms)
    axis = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
    left, right = np.cross(axis, a - b), np.cross(axis, d - c)
    return np.arctan2(np.sum(np.cross(left, right) * axis, axis=1), np.sum(left * right, axis=1))


def backbone_torsions(system: MolecularSystem) -> tuple[list[list[int]], list[list[int]]]:
    """Return the atoms of every phi and of every psi of the full molecule; empty if it has none."""
    import mdtraj

    frame = mdtraj.Trajectory(system.start_positions(), mdtraj.load_topology(system.structure_path))
    return mdtraj.compute_phi(frame)[0].tolist(), mdtraj.compute_psi(frame)[0].tolist()
