"""Metrics of the order in time, for ensembles that are trajectories."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric, plain


def relaxation_error(model: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square difference of the autocorrelations at the same lags, (lags,) each."""
    return float(np.sqrt(np.mean((np.asarray(model) - np.asarray(reference)) ** 2)))


ENTRIES = [
    Metric(
        "relaxation_error", "Relaxation of the torsions", "relaxation", "1",
        "Root mean square difference of the normalised autocorrelation of (cos, sin) of all "
        "torsions, <d(t) · d(t + k)> / <d²>, at 1, 2, 4, 8 and 16 frames of the ensemble and the "
        "same times of the reference, less what so few frames as the ensemble has lack of it.",
        "molflow", plain(relaxation_error),
    ),
]  # fmt: skip
