"""How fast torsions forget where they were: the order of frames in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.time_series import torsion_features

#: Lags of the comparison, in frames of the ensemble.
LAGS = (1, 2, 4, 8, 16)
#: Consecutive segments of a trajectory that its error is estimated from.
SEGMENTS = 16


@dataclass(frozen=True)
class Relaxation:
    """Sums from which the autocorrelation of any choice of segments follows.

    Attributes
    ----------
    products : ndarray, (segments, lags)
        Sum over pairs of frames of the scalar product of their deviations from the mean.
    pairs : ndarray, (segments, lags)
        Number of those pairs.
    squares : ndarray, (segments,)
        Sum over frames of the squared deviation.
    frames : ndarray, (segments,)
    """

    products: np.ndarray
    pairs: np.ndarray
    squares: np.ndarray
    frames: np.ndarray

    def correlation(self, segments: np.ndarray | None = None) -> np.ndarray:
        """Return the normalised autocorrelation at each lag, of all or some segments."""
        chosen = np.arange(len(self.frames)) if segments is None else segments
        variance = self.squares[chosen].sum() / self.frames[chosen].sum()
        if variance < 1e-12:
            return np.ones(self.products.shape[1])
        mean = self.products[chosen].sum(axis=0) / np.maximum(self.pairs[chosen].sum(axis=0), 1)
        return mean / variance


def measure_relaxation(
    torsions: np.ndarray, runs: np.ndarray, lags: np.ndarray, segments: int = SEGMENTS
) -> Relaxation:
    """Return the autocorrelation sums of cos and sin of the torsions.

    C(k) = <d(t) · d(t + k)> / <d(t)²> with d the deviation of (cos, sin) of all torsions from
    their mean over all runs. Every run is cut into segments, whose pairs start in the segment and
    may end in the next.

    Parameters
    ----------
    torsions : ndarray, (n, k)
        rad, in order of time within every run.
    runs : ndarray, (n,)
        Label of the run of each frame.
    lags : ndarray of int
        Frames.
    segments : int
        How many of all runs together; at least one a run.
    """
    centred = torsion_features(torsions)
    centred -= centred.mean(axis=0)
    labels = np.unique(runs)
    each = max(1, segments // len(labels))
    products, pairs, squares, frames = [], [], [], []
    for run in labels:
        part = centred[runs == run]
        scalar = [np.sum(part[: max(0, len(part) - k)] * part[k:], axis=1) for k in lags]
        own = np.sum(part**2, axis=1)
        for cut in np.array_split(np.arange(len(part)), each):
            start, stop = (cut[0], cut[-1] + 1) if len(cut) else (0, 0)
            products.append([x[start:stop].sum() for x in scalar])
            pairs.append([len(x[start:stop]) for x in scalar])
            squares.append(own[start:stop].sum())
            frames.append(stop - start)
    return Relaxation(*map(np.array, (products, pairs, squares, frames)))


def reference_lags(
    interval_ps: float, reference_interval_ps: float | None, longest: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lags in frames of the ensemble and of the reference that are the same time.

    Parameters
    ----------
    interval_ps, reference_interval_ps : float
        Time between frames.
    longest : int
        Frames of the shortest run; lags beyond a quarter of it are left out.

    Returns
    -------
    pair of ndarray of int, or None
        None if the ensemble's interval is no multiple of the reference's, or nothing is left.
    """
    if reference_interval_ps is None:
        return None
    ratio = interval_ps / reference_interval_ps
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 0.01 * ratio:
        return None
    own = np.array(LAGS)
    theirs = own * round(ratio)
    kept = theirs <= longest // 4
    return (own[kept], theirs[kept]) if kept.any() else None
