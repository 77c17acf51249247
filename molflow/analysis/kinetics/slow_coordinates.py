"""The slowest coordinates of a reference, in which any ensemble can be compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.kinetics.tica import fit_tica
from molflow.analysis.kinetics.time_series import torsion_features

#: Lag time of the fit in ps, or in frames where the time between frames is not known.
LAG_PS = 10.0
#: A run has to be at least this many lags long to be used.
_LEAST_LAGS = 10
#: Samples that are transformed at once.
_CHUNK = 100_000


@dataclass(frozen=True)
class SlowCoordinates:
    """Two linear combinations of cos and sin of the torsions, in the reference's sd.

    Attributes
    ----------
    mean : ndarray, (2 k,)
        Of the features over the reference.
    matrix : ndarray, (2 k, coordinates)
        One or two coordinates.
    lag : int
        Frames.
    timescales : ndarray, (coordinates,)
        -lag / ln|autocorrelation at the lag|, frames.
    """

    mean: np.ndarray
    matrix: np.ndarray
    lag: int
    timescales: np.ndarray

    def transform(self, torsions: np.ndarray) -> np.ndarray:
        """Return the coordinates (n, 2) of torsions (n, k) rad."""
        return project(torsions, self.mean, self.matrix)


def project(torsions: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return linear combinations (n, m) of cos and sin, less their mean, of torsions (n, k) rad."""
    parts = [
        (torsion_features(torsions[start : start + _CHUNK]) - mean) @ matrix
        for start in range(0, len(torsions), _CHUNK)
    ]
    return np.concatenate(parts)


def fit_slow_coordinates(
    torsions: np.ndarray, runs: np.ndarray, frame_interval_ps: float | None
) -> SlowCoordinates | None:
    """Fit TICA to the runs of a reference.

    Parallel tempering will do: the coordinates tell basins apart, whatever their time scales mean.

    Parameters
    ----------
    torsions : ndarray, (n, k)
        rad, in order of time within every run.
    runs : ndarray, (n,)
        Label of the run of each frame.
    frame_interval_ps : float, optional

    Returns
    -------
    SlowCoordinates or None
        None if no run is ten lags long or nothing moves.
    """
    lag = max(1, round(LAG_PS / (frame_interval_ps or 1.0)))
    parts = [torsions[runs == run] for run in np.unique(runs)]
    parts = [torsion_features(part) for part in parts if len(part) >= _LEAST_LAGS * lag]
    if not parts or not torsions.shape[1]:
        return None
    if np.max(np.concatenate(parts).std(axis=0)) < 1e-6:
        return None
    mean, matrix, timescales = fit_tica(parts, lag, 2)
    return SlowCoordinates(mean, matrix, lag, timescales)
