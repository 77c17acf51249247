"""Wasserstein distances on a line, of many columns at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def _coupling(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which of n and of m sorted samples meet in the optimal plan, and their weights."""
    # Quantiles in units of 1/(n m), so that the common steps of both staircases are exact.
    edges = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    return (edges - 1) // m, (edges - 1) // n, np.diff(edges, prepend=0) / (n * m)


def wasserstein_1d(model: np.ndarray, reference: np.ndarray, order: int) -> np.ndarray:
    """Return the Wasserstein distance of every column.

    In one dimension the optimal plan joins equal quantiles: W_p^p is the integral of
    |Q(u) - P(u)|^p over u from 0 to 1 for the quantile functions Q and P.

    Parameters
    ----------
    model, reference : ndarray, (n,) or (n, k) and (m,) or (m, k)
    order : int
        p, 1 or 2.

    Returns
    -------
    ndarray, () or (k,), float64
        In the unit of the samples.
    """
    a, b = (np.sort(np.asarray(x), axis=0) for x in (model, reference))
    if len(a) == len(b):
        return np.mean(np.abs(a.astype(np.float64) - b) ** order, axis=0) ** (1 / order)
    i, j, weight = _coupling(len(a), len(b))
    difference = np.abs(a[i].astype(np.float64) - b[j]) ** order
    return np.tensordot(weight, difference, axes=(0, 0)) ** (1 / order)
