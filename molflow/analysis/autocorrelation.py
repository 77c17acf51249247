"""How long torsions remember."""

from __future__ import annotations

import numpy as np

from molflow.analysis.time_series import TorsionSeries, draw_weights, pieces

_DRAWS = 200


def torsion_autocorrelation(
    series: TorsionSeries, torsion: int, longest: float, seed: int = 0
) -> dict:
    """Return the normalised autocorrelation of the unit vector (cos, sin) of one torsion.

    C(t) = [<v(0) v(t)> - |<v>|^2] / [1 - |<v>|^2], averaged over all pairs of frames of all runs
    about the common mean, v = (cos, sin): 1 at the start, 0 where memory is lost.

    Parameters
    ----------
    series : TorsionSeries
    torsion : int
        Column.
    longest : float
        ps.
    seed : int
        Of the bootstrap over pieces of the runs.

    Returns
    -------
    dict
        ``times`` (m,) ps, ``value`` (m,), ``low`` and ``high`` (m,), 95 % interval.

    Raises
    ------
    MolflowError
        If `longest` is not shorter than the longest run.
    """
    last = series.lag(longest)
    angles = [run[:, torsion].astype(np.float64) for run in series.runs]
    members = pieces(angles, last)
    sums = np.array([_sums(member, last) for member in members])
    weights = draw_weights(len(members), _DRAWS, seed)
    draws = [_correlation(np.tensordot(weight, sums, 1)) for weight in weights]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    value = _correlation(np.sum([_sums(run, last) for run in angles], axis=0))
    return {
        "times": series.interval * np.arange(last + 1), "value": value, "low": low, "high": high,
    }  # fmt: skip


def _sums(angles: np.ndarray, last: int) -> np.ndarray:
    """Return what adds up over runs, (4, last + 1): sum of products, pairs, and sums of v."""
    vector = np.exp(1j * angles)
    size = len(vector)
    transform = np.fft.fft(vector, 2 * size)
    products = np.fft.ifft(np.abs(transform) ** 2).real
    result = np.zeros((4, last + 1))
    reach = min(last + 1, size)
    result[0, :reach] = products[:reach]
    result[1, :reach] = size - np.arange(reach)
    result[2, 0], result[3, 0] = vector.sum().real, vector.sum().imag
    return result


def _correlation(sums: np.ndarray) -> np.ndarray:
    squared = (sums[2, 0] ** 2 + sums[3, 0] ** 2) / sums[1, 0] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return (sums[0] / sums[1] - squared) / (1 - squared)
