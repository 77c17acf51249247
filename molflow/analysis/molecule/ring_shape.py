"""Rings: how flat each is, and whether a bond passes through it."""

from __future__ import annotations

import numpy as np

#: Rings with more atoms than this are loops that other parts may well pass through.
LARGEST_RING = 8
#: Bonds whose middle is farther from the centre of a ring than this cannot pass through it, nm.
_REACH = 0.3


def flatness(positions: np.ndarray, ring: tuple[int, ...]) -> np.ndarray:
    """Return the root mean square distance of a ring's atoms from their best plane.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    ring : tuple of int

    Returns
    -------
    ndarray, (n,)
        nm.
    """
    atoms = positions[:, list(ring)].astype(np.float64)
    atoms -= atoms.mean(axis=1, keepdims=True)
    return np.linalg.svd(atoms, compute_uv=False)[:, -1] / np.sqrt(len(ring))


def threaded(positions: np.ndarray, ring: tuple[int, ...], bond: tuple[int, ...]) -> np.ndarray:
    """Return where a bond passes through a ring, (n,) bool.

    The ring's surface is the fan of triangles between its centre and its bonds; the segment is
    cut with each by the method of Moeller and Trumbore.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    ring : tuple of int
        Atoms in order round the ring.
    bond : tuple of int
        Two atoms, neither of them in the ring.
    """
    corners = positions[:, list(ring)].astype(np.float64)
    centre = corners.mean(axis=1)
    start, end = (positions[:, i].astype(np.float64) for i in bond)
    hit = np.zeros(len(positions), bool)
    near = np.flatnonzero(np.linalg.norm((start + end) / 2 - centre, axis=1) < _REACH)
    if not len(near):
        return hit
    corners, centre, start = corners[near], centre[near], start[near]
    along = end[near] - start
    for k in range(len(ring)):
        first, second = corners[:, k - 1] - centre, corners[:, k] - centre
        normal = np.cross(along, second)
        determinant = np.sum(first * normal, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = start - centre
            u = np.sum(offset * normal, axis=1) / determinant
            across = np.cross(offset, first)
            v = np.sum(along * across, axis=1) / determinant
            t = np.sum(second * across, axis=1) / determinant
        hit[near] |= (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)
    return hit
