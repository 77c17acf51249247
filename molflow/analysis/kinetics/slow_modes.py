"""The slow modes of a reference: TICA and a Markov state model, fitted once and stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from molflow.analysis.kinetics.interruption import heard_afterwards
from molflow.analysis.kinetics.markov import count_matrices, estimate
from molflow.analysis.kinetics.tica import fit_tica
from molflow.analysis.kinetics.time_series import TorsionSeries, torsion_features
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, reader, write_arrays, write_json

with heard_afterwards():
    from deeptime.clustering import KMeans

#: Arrays of a stored file.
_ARRAYS = ("mean", "matrix", "timescales", "centres", "transition_matrix", "stationary", "states")
_TEXT = ("lag_ps", "interval_ps", "system", "ensemble_hash", "frames", "runs")


@dataclass(frozen=True)
class SlowModes:
    """Slow coordinates and states of one molecule, for comparing other ensembles with it.

    Attributes
    ----------
    mean : ndarray, (2 k,)
        Of the cosines and sines of k torsions.
    matrix : ndarray, (2 k, d)
        From them to d components of unit standard deviation in the reference.
    timescales : ndarray, (d,)
        Of the components by TICA, ps.
    centres : ndarray, (m, d)
        Of the states.
    states : ndarray, (s,)
        Those that are connected; the model is of these.
    transition_matrix : ndarray, (s, s)
    stationary : ndarray, (s,)
    lag_ps, interval_ps : float
        Lag time of both models; time between frames.
    system, ensemble_hash : str
        What they were fitted on, and how much of it:
    frames, runs : int
    """

    mean: np.ndarray
    matrix: np.ndarray
    timescales: np.ndarray
    centres: np.ndarray
    states: np.ndarray
    transition_matrix: np.ndarray
    stationary: np.ndarray
    lag_ps: float
    interval_ps: float
    system: str
    ensemble_hash: str
    frames: int
    runs: int

    def project(self, torsions: np.ndarray) -> np.ndarray:
        """Return the slow components, (n, d), of torsions (n, k) in rad.

        Raises
        ------
        MolflowError
            If there is another number of torsions.
        """
        features = torsion_features(torsions)
        if features.shape[1] != len(self.mean):
            raise MolflowError(
                f"there are {features.shape[1] // 2} torsions, and the slow modes were fitted on "
                f"{len(self.mean) // 2}: give the same torsions."
            )
        return (features - self.mean) @ self.matrix

    def label(self, torsions: np.ndarray) -> np.ndarray:
        """Return the state of each conformation, (n,) int: the nearest centre."""
        return np.asarray(cKDTree(self.centres).query(self.project(torsions))[1])

    def save(self, folder: str | Path) -> None:
        """Write ``slow_modes.json`` and ``slow_modes.npz``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / "slow_modes.npz", **{name: getattr(self, name) for name in _ARRAYS})
        write_json(folder / "slow_modes.json", {name: getattr(self, name) for name in _TEXT})


def fit_slow_modes(
    series: TorsionSeries, lag_ps: float, dimensions: int = 2, states: int = 50, seed: int = 0
) -> SlowModes:
    """Fit TICA on cosines and sines, k-means states on its components, and a Markov model.

    Parameters
    ----------
    series : TorsionSeries
    lag_ps : float
        Lag time, ps.
    dimensions : int
        Components that are kept; at most twice the number of torsions.
    states : int
        Centres of k-means.
    seed : int
        Of k-means.

    Raises
    ------
    MolflowError
        If the lag time does not fit the series, or there are more states than frames.
    """
    lag = series.lag(lag_ps)
    if not 2 <= states < series.frames:
        raise MolflowError(
            f"states is {states} for {series.frames} frames: give at least 2 and fewer than that."
        )
    runs = series.features()
    mean, matrix, timescales = fit_tica(runs, lag, min(dimensions, runs[0].shape[1]))
    components = [(run - mean) @ matrix for run in runs]
    everything = np.concatenate(components)
    stride = max(1, len(everything) // 10_000)
    fitted = KMeans(states, fixed_seed=seed + 1, n_jobs=1).fit_fetch(everything[::stride])
    centres = np.asarray(fitted.cluster_centers)
    tree = cKDTree(centres)
    labels = [np.asarray(tree.query(part)[1]) for part in components]
    model = estimate(count_matrices(labels, lag, states).sum(axis=0), lag)
    return SlowModes(
        mean, matrix, timescales * series.interval, centres,
        np.asarray(model.state_symbols()), np.asarray(model.transition_matrix),
        np.asarray(model.stationary_distribution), float(lag_ps), float(series.interval),
        series.system, series.ensemble_hash, series.frames, len(series.runs),
    )  # fmt: skip


@reader
def load_slow_modes(folder: str | Path) -> SlowModes:
    """Read what `SlowModes.save` wrote.

    Raises
    ------
    MolflowError
        If a file is missing or damaged.
    """
    folder = Path(folder)
    text, arrays = read_json(folder / "slow_modes.json"), read_arrays(folder / "slow_modes.npz")
    try:
        held: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        return SlowModes(**held, **{name: text[name] for name in _TEXT})
    except KeyError as error:
        raise MolflowError(
            f"the slow modes in '{folder}' lack the entry {error}: fit them again."
        ) from error
