"""How long torsions remember."""

from __future__ import annotations

import numpy as np

from molflow.analysis.kinetics.time_series import TorsionSeries, draw_weights, pieces
from molflow.errors import MolflowError

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
    value, draws = _value_and_draws(series, torsion, longest, seed)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    times = series.interval * np.arange(len(value))
    return {"times": times, "value": value, "low": low, "high": high}


def compare_memory(
    model: TorsionSeries, reference: TorsionSeries, torsion: int, longest: float, seed: int = 0
) -> dict:
    """Compare how long a torsion remembers in two sets of runs.

    Parameters
    ----------
    model, reference : TorsionSeries
        Of the same torsions; the time between frames of one has to be a multiple of the other's.
    torsion : int
        Column.
    longest : float
        ps.
    seed : int
        Of the bootstrap over pieces of the runs.

    Returns
    -------
    dict
        ``times`` (m,) ps; ``model`` and ``reference`` (m,), autocorrelations as
        `torsion_autocorrelation` defines them; ``low`` and ``high`` (m,), the 95 % interval of
        their difference; ``time_model_ps`` and ``time_reference_ps``, the integrals of the curves
        up to `longest`; ``ratio`` of these with ``ratio_interval`` (95 %); ``agree``, whether
        the interval holds 1.

    Raises
    ------
    MolflowError
        If the times between frames do not fit, or `longest` is not shorter than the runs.
    """
    step = max(model.interval, reference.interval)
    sides, integrals = [], []
    for side, series in enumerate((model, reference)):
        stride = round(step / series.interval)
        if abs(stride * series.interval - step) > 1e-6 * step:
            raise MolflowError(
                f"frames of the model are {model.interval:g} ps apart, of the reference "
                f"{reference.interval:g} ps: one has to be a multiple of the other."
            )
        # Seeds apart: the two are independent.
        value, draws = _value_and_draws(series, torsion, longest, 2 * seed + side)
        sides.append((value[::stride], draws[:, ::stride]))
        curves = np.concatenate([sides[-1][0][None], sides[-1][1]])
        integrals.append(step * (curves.sum(axis=1) - 0.5 * (curves[:, 0] + curves[:, -1])))
    (value, draws), (known, others) = sides
    low, high = np.quantile(draws - others, [0.025, 0.975], axis=0)
    ratios = integrals[0] / integrals[1]
    interval = np.quantile(ratios[1:], [0.025, 0.975])
    return {
        "times": step * np.arange(len(value)), "model": value, "reference": known,
        "low": low, "high": high, "time_model_ps": float(integrals[0][0]),
        "time_reference_ps": float(integrals[1][0]), "ratio": float(ratios[0]),
        "ratio_interval": interval.tolist(), "agree": bool(interval[0] <= 1 <= interval[1]),
    }  # fmt: skip


def _value_and_draws(
    series: TorsionSeries, torsion: int, longest: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the autocorrelation (m,) and bootstrap draws of it (draws, m)."""
    last = series.lag(longest)
    angles = [run[:, torsion].astype(np.float64) for run in series.runs]
    members = pieces(angles, last)
    sums = np.array([_sums(member, last) for member in members])
    weights = draw_weights(len(members), _DRAWS, seed)
    draws = np.array([_correlation(np.tensordot(weight, sums, 1)) for weight in weights])
    return _correlation(np.sum([_sums(run, last) for run in angles], axis=0)), draws


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
