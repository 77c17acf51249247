"""Errors of correlated samples: statistical inefficiency and block bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from molflow.analysis.weighting import effective_size

#: Standard deviations of its bootstrap by which a score has to exceed its floor before it counts:
#: one of 200 does so by chance, and a verdict has up to seven such checks.
CHANCE = 2.6


@dataclass(frozen=True)
class Share:
    """A share and its standard error."""

    value: float
    error: float


def statistical_inefficiency(series: np.ndarray, runs: np.ndarray | None = None) -> float:
    """Number of frames that are worth one independent sample.

    g = 1 + 2 sum_t (1 - t/T) C(t), summed until the normalised autocorrelation C first falls to
    zero (Chodera et al., J. Chem. Theory Comput. 3, 26 (2007)). The autocorrelation is the
    average over runs about the common mean, so that a state which only some runs visit counts
    as slow.

    Parameters
    ----------
    series : ndarray, (n,)
        In order of time within every run.
    runs : ndarray, (n,), optional
        Label of the run of each value; one run by default.

    Returns
    -------
    float
        At least 1; 1 for a constant series.
    """
    series = np.asarray(series, np.float64)
    runs = np.zeros(len(series)) if runs is None else runs
    centred = series - series.mean()
    variance = np.mean(centred**2)
    if len(series) < 3 or variance == 0:
        return 1.0
    parts = [centred[runs == run] for run in np.unique(runs)]
    longest = max(map(len, parts))
    total, pairs = np.zeros(longest), np.zeros(longest)
    for part in parts:
        size = len(part)
        transform = np.fft.rfft(part, 2 * size)
        total[:size] += np.fft.irfft(np.abs(transform) ** 2, 2 * size)[:size]
        pairs[:size] += np.arange(size, 0, -1)
    correlation = total / pairs / variance
    ends = np.flatnonzero(correlation <= 0)
    stop = ends[0] if len(ends) else longest
    lags = np.arange(1, stop)
    return float(max(1.0, 1 + 2 * np.sum((1 - lags / longest) * correlation[1:stop])))


def influence(series: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return n w (x - mean), whose plain mean has the error of the weighted mean of x (n,)."""
    return len(series) * weights * (series - weights @ series)


def torsion_inefficiency(
    torsions: np.ndarray,
    runs: np.ndarray | None = None,
    phi: Sequence[int] = (0,),
    weights: np.ndarray | None = None,
) -> float:
    """Largest statistical inefficiency of cos, sin of each angle and the alpha-L indicators.

    `torsions` are (n, k) rad, `phi` the columns whose sign tells alpha-L; 1 without torsions. With
    weights (n,) it is that of the `influence` of each frame on the weighted means.
    """
    series = [f(angle) for angle in torsions.T for f in (np.cos, np.sin)]
    series += [((torsions[:, i] > 0) & (torsions[:, i] < 2)).astype(float) for i in phi]
    if weights is not None:
        series = [influence(s.astype(np.float64), weights) for s in series]
    return max((statistical_inefficiency(s, runs) for s in series), default=1.0)


def block_length(inefficiency: float, longest_run: int) -> int:
    """Frames per bootstrap block: twice the inefficiency, at most a quarter of a run."""
    if inefficiency < 1.5:
        return 1
    return int(np.clip(np.ceil(2 * inefficiency), 1, max(1, longest_run // 4)))


def few_blocks(frames: int, block: int) -> float:
    """Return by how much a standard deviation from a few blocks has to be widened.

    Student's factor: as many deviates are beyond `CHANCE` of the wider one as normal ones are
    beyond `CHANCE` of the true one. 1 for independent frames.
    """
    if block == 1:
        return 1.0
    freedom = max(1.0, frames / block - 1)
    return float(t.ppf(norm.cdf(CHANCE), freedom) / CHANCE)


def resample(runs: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw frames by circular moving blocks within runs.

    Parameters
    ----------
    runs : ndarray, (n,)
        Label of the run of each frame, in order of time within every run.
    length : int
        Frames per block. Blocks start at frames drawn from all runs and wrap round at the end
        of their run.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, (n,), int
        Indices of the drawn frames.
    """
    n = len(runs)
    order = np.argsort(runs, kind="stable")
    _, first, size = np.unique(runs[order], return_index=True, return_counts=True)
    member = np.repeat(np.arange(len(size)), size)
    starts = rng.integers(n, size=-(-n // length))
    run = member[starts]
    steps = starts[:, None] - first[run][:, None] + np.arange(length)
    return order[(first[run][:, None] + steps % size[run][:, None]).ravel()[:n]]


def bootstrap_sd(score: Callable[[], np.ndarray], repeats: int) -> np.ndarray:
    """Return the standard deviation of `repeats` values of a resampled score."""
    return np.std([score() for _ in range(repeats)], axis=0, ddof=1)


def share_of(
    members: np.ndarray, runs: np.ndarray | None = None, weights: np.ndarray | None = None
) -> Share:
    """Return the share of a marked part and its standard error.

    Parameters
    ----------
    members : ndarray of bool, (n,)
        In order of time within every run.
    runs : ndarray, (n,), optional
        Label of the run of each sample; one run by default.
    weights : ndarray, (n,), optional

    Returns
    -------
    Share
        The error is that of a binomial share of n / g independent samples, where g is the
        statistical inefficiency of the marks. It is evaluated at (k + 1) / (n / g + 2), by the
        rule of succession, since none of n samples does not mean none for certain. With weights
        the independent samples are as many as give the error of the weighted mean by the marks'
        `influence`, or their effective number if all marks are equal.
    """
    value = float(np.mean(members) if weights is None else weights[members].sum())
    return _share(min(value, 1.0), independent_samples(members, runs, weights))


def independent_samples(
    members: np.ndarray, runs: np.ndarray | None = None, weights: np.ndarray | None = None
) -> float:
    """Return how many independent samples know the share of a marked part, see `share_of`."""
    marks = members.astype(float)
    if weights is not None:
        return _independent(marks, runs, weights)
    return len(members) / statistical_inefficiency(marks, runs)


def _independent(marks: np.ndarray, runs: np.ndarray | None, weights: np.ndarray) -> float:
    pull, value = influence(marks, weights), float(weights @ marks)
    worth, g = effective_size(len(marks), weights), statistical_inefficiency(pull, runs)
    if not 0 < value < 1:
        return worth / g
    # Far less than their share of the samples or far more may carry a rare state.
    return value * (1 - value) * len(marks) / (np.mean(pull**2) * g)


def _share(value: float, independent: float) -> Share:
    near = (value * independent + 1) / (independent + 2)
    return Share(value, float(np.sqrt(near * (1 - near) / independent)))


def evenly_spaced(n: int, most: int) -> np.ndarray:
    """Return at most `most` of the numbers 0 to n - 1, evenly spaced, with both ends."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
