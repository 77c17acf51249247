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


def wasserstein_1d(
    model: np.ndarray,
    reference: np.ndarray,
    order: int,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the Wasserstein distance of every column.

    In one dimension the optimal plan joins equal quantiles: W_p^p is the integral of
    |Q(u) - P(u)|^p over u from 0 to 1 for the quantile functions Q and P.

    Parameters
    ----------
    model, reference : ndarray, (n,) or (n, k) and (m,) or (m, k)
    order : int
        p, 1 or 2.
    model_weights, reference_weights : ndarray, (n,) and (m,), optional
        Sums of 1.

    Returns
    -------
    ndarray, () or (k,), float64
        In the unit of the samples.
    """
    if model_weights is not None or reference_weights is not None:
        return _weighted(model, reference, order, model_weights, reference_weights)
    a, b = (np.sort(np.asarray(x), axis=0) for x in (model, reference))
    if len(a) == len(b):
        return np.mean(np.abs(a.astype(np.float64) - b) ** order, axis=0) ** (1 / order)
    i, j, weight = _coupling(len(a), len(b))
    difference = np.abs(a[i].astype(np.float64) - b[j]) ** order
    return np.tensordot(weight, difference, axes=(0, 0)) ** (1 / order)


def _weighted(model, reference, order: int, *weights: np.ndarray | None) -> np.ndarray:
    sides = [np.asarray(x, np.float64) for x in (model, reference)]
    columns = [x.reshape(len(x), -1) for x in sides]
    given = [
        np.full(len(x), 1 / len(x)) if w is None else w
        for x, w in zip(sides, weights, strict=True)
    ]
    cost = np.array([
        _cost(*pair, order, *given) for pair in zip(columns[0].T, columns[1].T, strict=True)
    ])  # fmt: skip
    return cost.reshape(sides[0].shape[1:]) ** (1 / order)


def _cost(a: np.ndarray, b: np.ndarray, order: int, wa: np.ndarray, wb: np.ndarray) -> float:
    i, j = np.argsort(a), np.argsort(b)
    # The staircases of both quantile functions, cut at the steps of either.
    reach = [np.cumsum(w[rows]) for w, rows in ((wa, i), (wb, j))]
    edges = np.union1d(*reach)
    edges = edges[edges > 0]
    place = [np.searchsorted(r, edges).clip(max=len(r) - 1) for r in reach]
    difference = np.abs(a[i][place[0]] - b[j][place[1]]) ** order
    return float(np.sum(np.diff(edges, prepend=0.0) * difference))
