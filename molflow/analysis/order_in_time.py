"""Whether a trajectory moves through its conformations as the reference does."""

from __future__ import annotations

import numpy as np

from molflow.analysis.floor import Split
from molflow.analysis.metrics.registry import metric
from molflow.analysis.reference import Reference
from molflow.analysis.relaxation import (
    SEGMENTS,
    Relaxation,
    measure_relaxation,
    reference_lags,
)
from molflow.analysis.samples import Samples
from molflow.analysis.statistics import (
    block_length,
    few_values,
    torsion_inefficiency,
)

_REPEATS = 100


def order_in_time(
    samples: Samples,
    runs: np.ndarray,
    split: Split,
    interval_ps: float,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray | list], dict] | None:
    """Score the order in time.

    Parameters
    ----------
    samples : Samples
        Finite ones, in order of time.
    runs : ndarray, (n,) int
        Which of several trajectories each is of.
    split : Split
        Of the reference. If it has a single run, its two halves in time give the floor, which is
        not below what noise of these lengths adds to the score.
    interval_ps : float
        Time between the ensemble's frames.
    rng : numpy.random.Generator
        Of the bootstrap, which draws segments of the trajectories.

    Returns
    -------
    tuple or None
        The autocorrelations (``lags_ps``, ``model``, ``reference``) and the values of
        `relaxation_error` (``value``, ``floor``, ``sd``). None if the two have no times in common.
    """
    columns = samples.features.columns
    scored = split.scored
    theirs = np.bincount(scored.replica)[list(scored.runs)]
    shortest = int(min(np.bincount(runs).min(), theirs.min()))
    lags = reference_lags(interval_ps, scored.frame_interval_ps, shortest)
    if lags is None or not len(columns):
        return None

    def of(part: Reference) -> Relaxation:
        return measure_relaxation(part.torsions[:, columns], part.replica, lags[1])

    # Segments that know of each other would make the error too small.
    longest = int(np.bincount(runs).max())
    length = block_length(torsion_inefficiency(samples.torsions, runs, ()), longest)
    segments = min(SEGMENTS, max(2, len(samples) // length))
    own = measure_relaxation(samples.torsions, runs, lags[0], segments)
    truth = of(scored)
    if len(split.floors) == 1:
        first, second = (of(part).correlation() for part in split.floors[0])
    else:
        halves = np.array_split(np.arange(len(truth.frames)), 2)
        first, second = (truth.correlation(half) for half in halves)

    def again(part: Relaxation) -> np.ndarray:
        return part.correlation(rng.integers(len(part.frames), size=len(part.frames)))

    score = metric("relaxation_error").score
    found = own.correlation(), truth.correlation()
    value = score(*found, rng)
    drawn = np.array([score(again(own), again(truth), rng) for _ in range(_REPEATS)])
    sd = drawn.std(ddof=1) * few_values(min(len(own.frames), len(truth.frames)))
    # A distance of two noisy curves: what noise of these lengths adds is no error of the ensemble.
    noise = np.sqrt(max(0.0, np.mean(drawn**2) - value**2))
    floor = max(score(first, second, rng), noise)
    curves = {
        "lags_ps": (lags[0] * interval_ps).tolist(),
        "model": found[0].tolist(),
        "reference": found[1].tolist(),
    }
    return curves, {"value": value, "floor": float(floor), "sd": float(sd)}
