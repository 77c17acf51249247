"""Distances between two sets of (phi, psi); each under the name of one exact definition.

All take arrays (n, 2) in rad on [-pi, pi]; the first is the model, the second the reference.
Published tables use the same words for different things, so a number goes with its definition.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Number of samples of each side in the exact optimal transport of `torus_w2`.
TORUS_W2_SIZE = 1500


def torsion_shares(torsions: np.ndarray, bins: int, edges: tuple | None = None) -> np.ndarray:
    """Share of the samples in each of bins x bins cells; samples on an edge count as inside."""
    edges = edges or ((-np.pi, np.pi),) * 2
    flat = np.zeros(len(torsions), dtype=np.int64)
    for column, (low, high) in zip(np.asarray(torsions, np.float64).T, edges, strict=True):
        cell = np.floor((column - low) / (high - low) * bins).astype(np.int64)
        flat = flat * bins + np.clip(cell, 0, bins - 1)
    return np.bincount(flat, minlength=bins * bins) / len(torsions)


def pmf_error(model: np.ndarray, reference: np.ndarray) -> float:
    """Weighted mean squared difference of the free-energy maps, (kT)^2.

    62 x 62 bins on [-pi, pi] (64 counting two overflow bins), p = count/N, union of the bins
    that either set occupies, missing side filled with 1e-6, sum of w (ln q - ln p)^2 with
    w proportional to (p + q)/2, normalised over the union. No shift, clip or root. This is the
    definition of ScoreMD and of strong stochastic flow maps (arXiv 2606.01086).
    """
    q, p = torsion_shares(model, 62), torsion_shares(reference, 62)
    union = (p > 0) | (q > 0)
    p, q = (np.where(x[union] > 0, x[union], 1e-6) for x in (p, q))
    weight = (p + q) / np.sum(p + q)
    return float(np.sum(weight * (np.log(q) - np.log(p)) ** 2))


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2
    total = 0.0
    for x in (p, q):
        occupied = x > 0
        total += 0.5 * np.sum(x[occupied] * np.log(x[occupied] / middle[occupied]))
    return float(max(total, 0.0))


def js_divergence(model: np.ndarray, reference: np.ndarray) -> float:
    """Jensen-Shannon divergence in nats on 64 x 64 bins with fixed edges at -pi and pi."""
    return jensen_shannon(torsion_shares(reference, 64), torsion_shares(model, 64))


def js_distance(model: np.ndarray, reference: np.ndarray) -> float:
    """Square root of `js_divergence`."""
    return float(np.sqrt(js_divergence(model, reference)))


def js_divergence_pooled(model: np.ndarray, reference: np.ndarray) -> float:
    """Jensen-Shannon divergence in nats on 64 x 64 bins between the pooled extremes."""
    low = np.minimum(model.min(axis=0), reference.min(axis=0)).astype(float)
    high = np.maximum(model.max(axis=0), reference.max(axis=0)).astype(float)
    edges = tuple((a, b if b > a else a + 1.0) for a, b in zip(low, high, strict=True))
    return jensen_shannon(torsion_shares(reference, 64, edges), torsion_shares(model, 64, edges))


def smoothed_density(torsions: np.ndarray, bins: int = 72, width: float = 10.0) -> np.ndarray:
    """Return the periodic histogram smoothed by a wrapped Gaussian.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        rad.
    bins : int
        Per angle.
    width : float
        Standard deviation of the Gaussian, degrees.

    Returns
    -------
    ndarray, (bins, bins)
        Probability per bin, summing to 1; first index phi.
    """
    offset = np.radians(360.0 / bins) * np.arange(bins)
    images = offset + 2 * np.pi * np.arange(-2, 3)[:, None]
    kernel = np.exp(-0.5 * (images / np.radians(width)) ** 2).sum(axis=0)
    transform = np.fft.fft(kernel / kernel.sum())
    shares = torsion_shares(torsions, bins).reshape(bins, bins)
    smooth = np.fft.ifft2(np.fft.fft2(shares) * np.outer(transform, transform)).real
    return np.maximum(smooth, 0.0)  # rounding of the transforms leaves -1e-19 in empty places


def free_energy(density: np.ndarray, cap: float = np.inf) -> np.ndarray:
    """Return -ln(density) in kT above its minimum, no higher than `cap`."""
    with np.errstate(divide="ignore"):
        values = -np.log(density)
    return np.minimum(values - values.min(), cap)


def fes_rmse(model: np.ndarray, reference: np.ndarray) -> float:
    """Boltzmann-weighted root mean square error of the smoothed free-energy map, kT.

    72 x 72 periodic histogram smoothed by a wrapped Gaussian of 10 degrees, F = -ln p above its
    minimum, bins with reference F < 6 kT weighted by the reference density, after the best
    constant shift, model F capped at 8 kT.
    """
    density = smoothed_density(reference)
    truth = free_energy(density)
    inside = truth < 6.0
    weight = density[inside] / density[inside].sum()
    error = free_energy(smoothed_density(model), cap=8.0)[inside] - truth[inside]
    return float(np.sqrt(np.sum(weight * (error - np.sum(weight * error)) ** 2)))


def thin_evenly(torsions: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return `size` samples taken at even steps along a snake through the first two torsions.

    Every region keeps its share to within one sample, where a random subset of 1500 would
    change a basin of 2 % by a sixth of its population. All samples if there are no more.
    """
    if len(torsions) <= size:
        return torsions
    second = torsions[:, min(1, torsions.shape[1] - 1)]
    strip = np.floor(torsions[:, 0] / (2 * np.pi) * 36).astype(int)
    order = np.lexsort((second * (1 - 2 * (strip % 2)), strip))
    steps = (np.arange(size) + rng.random()) * (len(torsions) / size)
    return torsions[order[steps.astype(int)]]


def torus_w2(
    model: np.ndarray, reference: np.ndarray, rng: np.random.Generator, size: int = TORUS_W2_SIZE
) -> float:
    """Wasserstein-2 distance on the torus by exact optimal transport, rad.

    Cost: sum over the angles (n, k) of min(|d|, 2 pi - |d|)^2; the root. Each side is first thinned
    by `thin_evenly` to at most `size` samples, because the time grows with the cube of it.
    """
    sides = [thin_evenly(x, size, rng).astype(np.float64) for x in (model, reference)]
    cost = np.zeros((len(sides[0]), len(sides[1])))
    for a, b in zip(sides[0].T, sides[1].T, strict=True):
        difference = np.abs(np.subtract.outer(a, b))
        cost += np.minimum(difference, 2 * np.pi - difference) ** 2
    return float(np.sqrt(transport_cost(cost)))


def transport_cost(cost: np.ndarray) -> float:
    """Return the least mean cost of moving one set of equally weighted samples onto another.

    Parameters
    ----------
    cost : ndarray, (n, m)
        Of moving sample i to j. Sets of equal size are an assignment problem, which scipy solves
        in half the time of POT's ``emd2``.
    """
    if cost.shape[0] == cost.shape[1]:
        return float(cost[linear_sum_assignment(cost)].mean())
    import ot  # here, because it loads every array library that is installed

    weights = [np.full(size, 1 / size) for size in cost.shape]
    return max(0.0, float(ot.emd2(*weights, cost, numItermax=5_000_000)))


def in_alpha_l(torsions: np.ndarray) -> np.ndarray:
    """Return which samples are in the left-handed region, 0 < phi < 2 rad; bool (n,)."""
    return (torsions[:, 0] > 0) & (torsions[:, 0] < 2)


def delta_f_alpha_l(torsions: np.ndarray, least: float = 0.0) -> float:
    """Free energy of alpha-L against the rest, -ln[P(0 < phi < 2) / P(rest)], kT.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        rad.
    least : float
        Count that stands in for an empty side: with 0 the answer is infinite, with 0.5 it is
        the usual bound.
    """
    inside = np.count_nonzero(in_alpha_l(torsions))
    outside = len(torsions) - inside
    with np.errstate(divide="ignore"):
        logarithms = np.log(np.maximum([outside, inside], least, dtype=np.float64))
        return float(logarithms[0] - logarithms[1])
