"""The tail of importance weights: the shape of a generalised Pareto law fitted to the largest."""

from __future__ import annotations

import numpy as np

#: Fewer tail weights than this do not tell a shape.
LEAST_TAIL = 5
#: Up to this shape estimates from weights converge at a useful pace (Vehtari et al. 2024).
RELIABLE = 0.7


def pareto_shape(excesses: np.ndarray) -> float:
    """Return the shape k of a generalised Pareto law of location 0.

    The estimate of Zhang and Stephens (Technometrics 51, 316 (2009)): the posterior mean of
    b = -k / scale on a grid of m points under their prior, k the mean of ln(1 - b x).

    Parameters
    ----------
    excesses : ndarray, (n,)
        At least `LEAST_TAIL`, none negative, not all zero.
    """
    x = np.sort(np.asarray(excesses, np.float64))
    n, points = len(x), 30 + int(np.sqrt(len(x)))
    b = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    b = b / (3 * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.mean(np.log1p(-b[:, None] * x), axis=1)
    profile = n * (np.log(-b / k) - k - 1)
    chosen = np.exp(profile - profile.max())
    return float(np.mean(np.log1p(-np.sum(b * chosen) / chosen.sum() * x)))


def pareto_k(log_weights: np.ndarray) -> float | None:
    """Return the tail index of importance weights, the k-hat of PSIS.

    Below 0.5 the weights have a variance, up to `RELIABLE` estimates are useful, from 1 on they
    have no mean. Of n weights the largest min(n / 5, 3 sqrt(n)) are the tail; the shape is drawn
    towards 0.5 as by ten more weights (Vehtari, Simpson, Gelman, Yao, Gabry, J. Mach. Learn. Res.
    25, 72 (2024)).

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Up to a constant.

    Returns
    -------
    float or None
        None if fewer than `LEAST_TAIL` weights make the tail, which are those above the next
        smaller weight: zeros and other equal ones at its foot have no shape. Minus infinity if the
        largest are all equal, so that the weights are bounded.
    """
    found = np.sort(np.asarray(log_weights, np.float64))
    size = int(np.ceil(min(0.2 * len(found), 3 * np.sqrt(len(found)))))
    if size < LEAST_TAIL or size >= len(found):
        return None
    largest = np.exp(found[-size - 1 :] - found[-1])
    excesses = largest[1:] - largest[0]
    if not excesses[-1] > 0:
        return float("-inf")
    excesses = excesses[excesses > 0]
    size = len(excesses)
    if size < LEAST_TAIL:
        return None
    return (size * pareto_shape(excesses) + 10 * 0.5) / (size + 10)
