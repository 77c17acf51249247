"""Time-lagged independent components of several runs; deeptime's."""

from __future__ import annotations

import numpy as np

from molflow.analysis.kinetics.interruption import heard_afterwards


def fit_tica(runs: list[np.ndarray], lag: int, dimensions: int):
    """Fit time-lagged independent components.

    Parameters
    ----------
    runs : list of ndarray, each (frames, d)
    lag : int
        Frames.
    dimensions : int
        Slowest components to keep.

    Returns
    -------
    mean : ndarray, (d,)
    matrix : ndarray, (d, dimensions)
        Components are (features - mean) @ matrix, each of unit standard deviation over the runs;
        of the two signs that in which the largest coefficient is positive.
    timescales : ndarray, (dimensions,)
        -lag / ln|eigenvalue|, frames.
    """
    with heard_afterwards():
        from deeptime.decomposition import TICA  # seconds: it brings scikit-learn along

    usable = [run for run in runs if len(run) > lag]
    model = TICA(lagtime=lag, dim=dimensions, scaling=None).fit_from_timeseries(usable)
    model = model.fetch_model()
    width = runs[0].shape[1]
    offset = model.transform(np.zeros((1, width)))
    matrix = model.transform(np.eye(width)) - offset
    everything = np.concatenate(runs)
    mean = everything.mean(axis=0)
    matrix = matrix / (everything @ matrix).std(axis=0)
    matrix = matrix * np.sign(matrix[np.argmax(np.abs(matrix), axis=0), np.arange(matrix.shape[1])])
    return mean, matrix, np.asarray(model.timescales(lagtime=lag))[: matrix.shape[1]]
