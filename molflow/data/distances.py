"""Distances between atoms in a training set."""

from __future__ import annotations

import numpy as np


def distance_statistics(positions: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the distances of pairs of atoms, each (pairs,).

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        In the unit that is wanted.
    pairs : ndarray, (pairs, 2), int
    """
    total, square = 0.0, 0.0
    at_once = max(1, 500_000 // max(1, len(pairs)))
    for first in range(0, len(positions), at_once):
        frame = positions[first : first + at_once]
        difference = frame[:, pairs[:, 0]] - frame[:, pairs[:, 1]]
        distance = np.linalg.norm(difference, axis=-1).astype(np.float64)
        total, square = total + distance.sum(0), square + (distance**2).sum(0)
    mean = np.asarray(total / len(positions))
    variance = np.maximum(square / len(positions) - mean**2, 0.0)
    # On the diagonal, and for rigid pairs, a width that noise of the last step drowns.
    return mean, np.sqrt(variance + 1e-6)
