"""Coordinates of conformations whose centre is fixed."""

from __future__ import annotations

import numpy as np


def helmert(n_atoms: int) -> np.ndarray:
    """Return an orthonormal basis of the vectors of n atoms whose mean is zero.

    Parameters
    ----------
    n_atoms : int
        At least 2.

    Returns
    -------
    ndarray, (3 n_atoms, 3 n_atoms - 3), float64
        Columns are orthonormal and have zero mean over atoms; rows are in the order of a flattened
        (n_atoms, 3) array. Centred positions x are B q with q = Bᵀ x.
    """
    columns = np.zeros((n_atoms, n_atoms - 1))
    for k in range(1, n_atoms):
        columns[:k, k - 1] = 1.0 / np.sqrt(k * (k + 1.0))
        columns[k, k - 1] = -k / np.sqrt(k * (k + 1.0))
    return np.kron(columns, np.eye(3))
