"""Whether a trajectory moves through its conformations as the reference does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import f, norm

from molflow.analysis.kinetics.relaxation import autocorrelation, reference_lags
from molflow.analysis.metrics.registry import metric
from molflow.analysis.reference import Reference
from molflow.analysis.statistics import CHANCE

#: Pieces, at least, that errors come from, of both sides together.
_PIECES = 12
#: Frames of a piece, at least, in units of the longest lag.
_LAGS_A_PIECE = 4


def order_in_time(
    torsions: np.ndarray,
    columns: Sequence[int] | np.ndarray,
    runs: np.ndarray,
    reference: Reference,
    scored: Reference,
    interval_ps: float,
) -> tuple[dict[str, list | float | None], dict[str, float]] | None:
    """Score the order in time.

    If the ensemble is a trajectory of the reference's own dynamics, pieces of both have one law.
    Autocorrelations of pieces, each about its own mean, give how far those of n frames lie below
    the true one (of order 1/n, since a short trajectory does not know the mean) and how much they
    scatter (a covariance of order 1/n): exactly where a piece is as long as the ensemble. So it
    follows how large the score is by chance.

    Parameters
    ----------
    torsions : ndarray, (n, k)
        Of the ensemble, rad, in order of time.
    columns : sequence of int or ndarray
        Which torsions of the reference those are.
    runs : ndarray, (n,) int
        Which of several trajectories each is of.
    reference : Reference
        All runs, of which the pieces are.
    scored : Reference
        Those that are scored against.
    interval_ps : float
        Time between the ensemble's frames.

    Returns
    -------
    tuple or None
        The autocorrelations (``lags_ps``, ``model``, ``reference``: what is expected of it in as
        many frames as the ensemble has) with ``by_chance``, the score that perfect trajectories of
        these lengths exceed as rarely as normal values exceed `CHANCE`, None if no error is known;
        and the values of `relaxation_error` (``value``, ``floor``, ``sd``), whose floor is the root
        mean square of what chance makes. None if the two have no times in common.
    """
    theirs = np.bincount(scored.replica)[list(scored.runs)]
    shortest = int(min(np.bincount(runs).min(), theirs.min()))
    lags = reference_lags(interval_ps, scored.frame_interval_ps, shortest)
    if lags is None or not len(columns):
        return None
    ratio = int(lags[1][0] // lags[0][0])

    def of(part: Reference) -> np.ndarray:
        return autocorrelation(part.torsions[:, columns], part.replica, lags[1])

    # All at the interval of the ensemble, so that pieces are as noisy as it is.
    thin = np.argsort(reference.replica, kind="stable")[::ratio]
    own, truth, every = len(torsions), len(scored.torsions) / ratio, len(thin)
    least = _LAGS_A_PIECE * lags[0][-1]
    length = max(least, min(own, truth, (own + every) / _PIECES))
    mine = _pieces(torsions, runs, lags[0], length)
    others = _pieces(reference.torsions[thin][:, columns], reference.replica[thin], lags[0], length)
    freedom = len(mine) + len(others) - 2
    covariance = (_scatter(mine) * own / len(mine) + _scatter(others) * every / len(others)) * (
        (1 / own + 1 / truth) / max(1, freedom)
    )
    # What one frame would lack; the difference of two lengths is known, that to none follows.
    lack = np.zeros(len(lags[0]))
    if len(others) > 1:
        lack = (of(reference) - others.mean(axis=0)) * every / (len(others) - 1)
    model = autocorrelation(torsions, runs, lags[0])
    expected = of(scored) + lack * (1 / truth - 1 / own)
    value = metric("relaxation_error").score(model, expected, None)
    noise = np.sqrt(np.trace(covariance) / len(model))
    away = model - expected
    sd = np.sqrt(away @ covariance @ away) / (len(model) * value) if value > 0 else noise
    return {
        "lags_ps": (lags[0] * interval_ps).tolist(),
        "model": model.tolist(),
        "reference": expected.tolist(),
        "by_chance": _by_chance(covariance, freedom),
    }, {"value": value, "floor": float(noise), "sd": float(sd)}


def _pieces(torsions: np.ndarray, runs: np.ndarray, lags: np.ndarray, length: float) -> np.ndarray:
    """Return the autocorrelation of each of the pieces of about a length, (pieces, lags)."""
    order = np.argsort(runs, kind="stable")
    cuts = np.array_split(order, max(1, round(len(order) / length)))
    return np.array([autocorrelation(torsions[rows], runs[rows], lags) for rows in cuts])


def _scatter(values: np.ndarray) -> np.ndarray:
    """Return the sum of the products of deviations from the mean, (lags, lags)."""
    centred = values - values.mean(axis=0)
    return centred.T @ centred


def _by_chance(covariance: np.ndarray, freedom: int) -> float | None:
    """Return the root mean square of normal values that is exceeded as rarely as `CHANCE`.

    The mean of their squares is about a multiple of an F-distributed number, since the covariance
    is an estimate (Box, Ann. Math. Stat. 25, 290 (1954)).
    """
    total = np.trace(covariance)
    if freedom < 1:
        return None
    if total == 0:
        return 0.0
    own = total**2 / np.sum(covariance**2)
    return float(np.sqrt(total / len(covariance) * f.isf(norm.sf(CHANCE), own, freedom)))
