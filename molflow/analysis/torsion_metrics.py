"""Distances between two sets of (phi, psi); each under the name of one exact definition.

All take arrays (n, 2) in rad on [-pi, pi]; the first is the model, the second the reference.
Weights of either side are arrays (n,) that sum to 1; None means equal weights.
Published tables use the same words for different things, so a number goes with its definition.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from molflow.analysis.weighting import effective_size, systematic

#: Number of samples of each side in the exact optimal transport of `torus_w2`.
TORUS_W2_SIZE = 1500


def torsion_shares(
    torsions: np.ndarray,
    bins: int,
    edges: tuple | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the samples in each of bins x bins cells; samples on an edge count as inside."""
    edges = edges or ((-np.pi, np.pi),) * 2
    flat = np.zeros(len(torsions), dtype=np.int64)
    for column, (low, high) in zip(np.asarray(torsions, np.float64).T, edges, strict=True):
        cell = np.floor((column - low) / (high - low) * bins).astype(np.int64)
        flat = flat * bins + np.clip(cell, 0, bins - 1)
    if weights is not None:
        return np.bincount(flat, weights, minlength=bins * bins)
    return np.bincount(flat, minlength=bins * bins) / len(torsions)


def pmf_error(model, reference, model_weights=None, reference_weights=None) -> float:
    """Weighted mean squared difference of the free-energy maps, (kT)^2.

    62 x 62 bins on [-pi, pi] (64 counting two overflow bins), p = count/N, union of the bins
    that either set occupies, missing side filled with 1e-6, sum of w (ln q - ln p)^2 with
    w proportional to (p + q)/2, normalised over the union. No shift, clip or root. This is the
    definition of ScoreMD and of strong stochastic flow maps (arXiv 2606.01086).
    """
    q = torsion_shares(model, 62, weights=model_weights)
    p = torsion_shares(reference, 62, weights=reference_weights)
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


def js_divergence(model, reference, model_weights=None, reference_weights=None) -> float:
    """Jensen-Shannon divergence in nats on 64 x 64 bins with fixed edges at -pi and pi."""
    p = torsion_shares(reference, 64, weights=reference_weights)
    return jensen_shannon(p, torsion_shares(model, 64, weights=model_weights))


def js_distance(model, reference, model_weights=None, reference_weights=None) -> float:
    """Square root of `js_divergence`."""
    return float(np.sqrt(js_divergence(model, reference, model_weights, reference_weights)))


def js_divergence_pooled(model, reference, model_weights=None, reference_weights=None) -> float:
    """Jensen-Shannon divergence in nats on 64 x 64 bins between the pooled extremes."""
    a, b = (
        x if w is None else x[w > 0]
        for x, w in ((model, model_weights), (reference, reference_weights))
    )
    low = np.minimum(a.min(axis=0), b.min(axis=0)).astype(float)
    high = np.maximum(a.max(axis=0), b.max(axis=0)).astype(float)
    edges = tuple((x, y if y > x else x + 1.0) for x, y in zip(low, high, strict=True))
    p = torsion_shares(reference, 64, edges, reference_weights)
    return jensen_shannon(p, torsion_shares(model, 64, edges, model_weights))


def smoothed_density(
    torsions: np.ndarray,
    bins: int = 72,
    width: float = 10.0,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the periodic histogram smoothed by a wrapped Gaussian.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        rad.
    bins : int
        Per angle.
    width : float
        Standard deviation of the Gaussian, degrees.
    weights : ndarray, (n,), optional

    Returns
    -------
    ndarray, (bins, bins)
        Probability per bin, summing to 1; first index phi.
    """
    offset = np.radians(360.0 / bins) * np.arange(bins)
    images = offset + 2 * np.pi * np.arange(-2, 3)[:, None]
    kernel = np.exp(-0.5 * (images / np.radians(width)) ** 2).sum(axis=0)
    transform = np.fft.fft(kernel / kernel.sum())
    shares = torsion_shares(torsions, bins, weights=weights).reshape(bins, bins)
    smooth = np.fft.ifft2(np.fft.fft2(shares) * np.outer(transform, transform)).real
    return np.maximum(smooth, 0.0)  # rounding of the transforms leaves -1e-19 in empty places


def free_energy(density: np.ndarray, cap: float = np.inf) -> np.ndarray:
    """Return -ln(density) in kT above its minimum, no higher than `cap`."""
    with np.errstate(divide="ignore"):
        values = -np.log(density)
    return np.minimum(values - values.min(), cap)


def fes_rmse(model, reference, model_weights=None, reference_weights=None) -> float:
    """Boltzmann-weighted root mean square error of the smoothed free-energy map, kT.

    72 x 72 periodic histogram smoothed by a wrapped Gaussian of 10 degrees, F = -ln p above its
    minimum, bins with reference F < 6 kT weighted by the reference density, after the best
    constant shift, model F capped at 8 kT.
    """
    density = smoothed_density(reference, weights=reference_weights)
    truth = free_energy(density)
    inside = truth < 6.0
    weight = density[inside] / density[inside].sum()
    found = free_energy(smoothed_density(model, weights=model_weights), cap=8.0)
    error = found[inside] - truth[inside]
    return float(np.sqrt(np.sum(weight * (error - np.sum(weight * error)) ** 2)))


def thin_evenly(
    torsions: np.ndarray,
    size: int,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return `size` samples taken at even steps along a snake through the first two torsions.

    Every region keeps its share to within one sample, where a random subset of 1500 would
    change a basin of 2 % by a sixth of its population. Of weighted samples the steps are even in
    weight, so that the thinned ones, some of them several times, have equal weights.

    Returns
    -------
    tuple
        The samples, and their weights (None for equal ones): all of them if there are no more.
    """
    if len(torsions) <= size:
        return torsions, weights
    second = torsions[:, min(1, torsions.shape[1] - 1)]
    strip = np.floor(torsions[:, 0] / (2 * np.pi) * 36).astype(int)
    order = np.lexsort((second * (1 - 2 * (strip % 2)), strip))
    if weights is not None:
        return torsions[order[systematic(weights[order], size, rng.random())]], None
    steps = (np.arange(size) + rng.random()) * (len(torsions) / size)
    return torsions[order[steps.astype(int)]], None


def torus_w2(
    model: np.ndarray,
    reference: np.ndarray,
    rng: np.random.Generator,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
    size: int = TORUS_W2_SIZE,
) -> float:
    """Wasserstein-2 distance on the torus by exact optimal transport, rad.

    Cost: sum over the angles (n, k) of min(|d|, 2 pi - |d|)^2; the root. Each side is first thinned
    by `thin_evenly` to at most `size` samples, because the time grows with the cube of it.
    """
    first, own = thin_evenly(model, size, rng, model_weights)
    second, other = thin_evenly(reference, size, rng, reference_weights)
    cost = np.zeros((len(first), len(second)))
    for a, b in zip(first.T.astype(np.float64), second.T.astype(np.float64), strict=True):
        difference = np.abs(np.subtract.outer(a, b))
        cost += np.minimum(difference, 2 * np.pi - difference) ** 2
    return float(np.sqrt(transport_cost(cost, own, other)))


def transport_cost(
    cost: np.ndarray,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> float:
    """Return the least mean cost of moving one set of samples onto another.

    Parameters
    ----------
    cost : ndarray, (n, m)
        Of moving sample i to j. Sets of equal size and weights are an assignment problem, which
        scipy solves in half the time of POT's ``emd2``.
    model_weights, reference_weights : ndarray, (n,) and (m,), optional
    """
    given = model_weights, reference_weights
    if cost.shape[0] == cost.shape[1] and given == (None, None):
        return float(cost[linear_sum_assignment(cost)].mean())
    import ot  # here, because it loads every array library that is installed

    weights = [
        np.full(size, 1 / size) if w is None else w
        for size, w in zip(cost.shape, given, strict=True)
    ]
    return max(0.0, float(ot.emd2(*weights, cost, numItermax=5_000_000)))


def in_alpha_l(torsions: np.ndarray) -> np.ndarray:
    """Return which samples are in the left-handed region, 0 < phi < 2 rad; bool (n,)."""
    return (torsions[:, 0] > 0) & (torsions[:, 0] < 2)


def delta_f_alpha_l(
    torsions: np.ndarray, least: float = 0.0, weights: np.ndarray | None = None
) -> float:
    """Free energy of alpha-L against the rest, -ln[P(0 < phi < 2) / P(rest)], kT.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        rad.
    least : float
        Count that stands in for an empty side: with 0 the answer is infinite, with 0.5 it is
        the usual bound. Of weighted samples it is a part of their effective number.
    weights : ndarray, (n,), optional
    """
    if weights is not None:
        return _weighted_delta_f(in_alpha_l(torsions), least, weights)
    inside = np.count_nonzero(in_alpha_l(torsions))
    outside = len(torsions) - inside
    with np.errstate(divide="ignore"):
        logarithms = np.log(np.maximum([outside, inside], least, dtype=np.float64))
        return float(logarithms[0] - logarithms[1])


def _weighted_delta_f(inside: np.ndarray, least: float, weights: np.ndarray) -> float:
    shares = np.array([weights[~inside].sum(), weights[inside].sum()])
    # A visited side has the weight of its samples, however small; only an empty one is bounded.
    shares[shares == 0] = least / effective_size(len(weights), weights)
    with np.errstate(divide="ignore"):
        return float(np.log(shares[0]) - np.log(shares[1]))
