"""The wells of a torsion's free-energy profile, and how an ensemble fills them."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.torsion_marginals import marginal

_BINS = 72
#: Standard deviation of the wrapped Gaussian that smooths the profile, degrees.
_WIDTH = 10.0
#: Wells that are parted by less than this are one, kT.
_BARRIER = 1.0


def _smoothed(angles: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    offset = np.minimum(np.arange(_BINS), _BINS - np.arange(_BINS)) * 360.0 / _BINS
    kernel = np.exp(-0.5 * (offset / _WIDTH) ** 2)
    transform = np.fft.fft(kernel / kernel.sum())
    shares = marginal(angles, _BINS, weights)
    return np.maximum(np.fft.ifft(np.fft.fft(shares) * transform).real, 1e-12)


def well_edges(angles: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the tops of the barriers between wells, sorted bins of 5 degrees from -pi; (k,) int.

    Wells of the profile -ln p smoothed over 10 degrees, joined until each is parted from its
    neighbours by at least 1 kT. Empty if there is one well only.
    """
    profile = -np.log(_smoothed(angles, weights))
    before, after = np.roll(profile, 1), np.roll(profile, -1)
    lows = list(np.flatnonzero((profile < before) & (profile <= after)))
    while len(lows) > 1:
        tops = []
        for here, there in zip(lows, lows[1:] + lows[:1], strict=True):
            between = (here + np.arange((there - here) % _BINS + 1)) % _BINS
            tops.append(int(between[profile[between].argmax()]))
        # A barrier counts from the higher of the two wells beside it.
        heights = [
            profile[top] - max(profile[here], profile[there])
            for top, here, there in zip(tops, lows, lows[1:] + lows[:1], strict=True)
        ]
        lowest = int(np.argmin(heights))
        if heights[lowest] >= _BARRIER:
            return np.array(sorted(tops))
        beside = lowest, (lowest + 1) % len(lows)
        lows.pop(max(beside, key=lambda k: profile[lows[k]]))
    return np.zeros(0, int)


def well_shares(
    angles: np.ndarray, edges: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of angles in each well, (k,); the first well lies past the first edge.

    Parameters
    ----------
    angles : ndarray, (n,)
        rad.
    edges : ndarray, (k,)
        From `well_edges` of the reference.
    weights : ndarray, (n,), optional
    """
    if not len(edges):
        return np.ones(1)
    bins = marginal(angles, _BINS, weights)
    turned = np.roll(bins, -edges[0])
    return np.add.reduceat(turned, edges - edges[0])


def well_of(angles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the number of the well that each angle is in, (n,) int; arguments as `well_shares`."""
    if not len(edges):
        return np.zeros(len(angles), int)
    cell = np.floor((np.asarray(angles, np.float64) + np.pi) / (2 * np.pi) * _BINS).astype(int)
    turned = (np.clip(cell, 0, _BINS - 1) - edges[0]) % _BINS
    return np.searchsorted(edges - edges[0], turned, side="right") - 1


def well_middles(edges: np.ndarray) -> np.ndarray:
    """Return the middle of each well, degrees on [-180, 180]."""
    if not len(edges):
        return np.zeros(1)
    width = np.diff(np.append(edges, edges[0] + _BINS))
    middle = (edges + width / 2 + 0.5) * 360.0 / _BINS - 180.0
    return (middle + 180.0) % 360.0 - 180.0


def barrier_tops(edges: np.ndarray) -> np.ndarray:
    """Return where the tops of the barriers are, degrees on [-180, 180]; as from `well_edges`."""
    return (edges + 0.5) * 360.0 / _BINS - 180.0
