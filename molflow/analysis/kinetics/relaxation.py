"""How fast torsions forget where they were: the order of frames in time."""

from __future__ import annotations

import numpy as np

from molflow.analysis.kinetics.time_series import torsion_features

#: Lags of the comparison, in frames of the ensemble.
LAGS = (1, 2, 4, 8, 16)

def autocorrelation(torsions: np.ndarray, runs: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return the normalised autocorrelation of cos and sin of the torsions at each lag.

    C(k) = <d(t) · d(t + k)> / <d(t)²> with d the deviation of (cos, sin) of all torsions from
    their mean over all runs; pairs of frames are of one run.

    Parameters
    ----------
    torsions : ndarray, (n, k)
        rad, in order of time within every run.
    runs : ndarray, (n,)
        Label of the run of each frame.
    lags : ndarray of int
        Frames.

    Returns
    -------
    ndarray, (lags,)
        Ones if nothing moves; 0 at lags that no two frames of a run are apart.
    """
    centred = torsion_features(torsions)
    centred -= centred.mean(axis=0)
    variance = np.mean(np.sum(centred**2, axis=1))
    if variance < 1e-12:
        return np.ones(len(lags))
    parts = [centred[runs == run] for run in np.unique(runs)]
    found = []
    for k in lags:
        products = [np.sum(part[: max(0, len(part) - k)] * part[k:]) for part in parts]
        pairs = sum(max(0, len(part) - k) for part in parts)
        found.append(sum(products) / max(1, pairs) / variance)
    return np.array(found)


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
