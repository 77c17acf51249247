"""Metrics of single torsions, for every molecule that has any."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric, plain
from molflow.analysis.torsion_metrics import jensen_shannon

#: Bins of `torsion_js_distance` and of `torsion_misplaced`.
JS_BINS, MISPLACED_BINS = 100, 36


def marginal(angles: np.ndarray, bins: int) -> np.ndarray:
    """Return the share of angles (n,) rad in each of `bins` cells between -pi and pi."""
    cell = np.floor((np.asarray(angles, np.float64) + np.pi) / (2 * np.pi) * bins).astype(np.int64)
    return np.bincount(np.clip(cell, 0, bins - 1), minlength=bins) / len(angles)


def js_distances(model: np.ndarray, reference: np.ndarray, bins: int = JS_BINS) -> np.ndarray:
    """Return the Jensen-Shannon distance (root of nats) of every torsion, (k,)."""
    pairs = zip(np.transpose(model), np.transpose(reference), strict=True)
    return np.sqrt([jensen_shannon(marginal(b, bins), marginal(a, bins)) for a, b in pairs])


def misplaced(model: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the share of samples in the wrong bin of 10 degrees, for every torsion, (k,).

    The total variation distance, half the sum of |q - p|: the smallest share of the model's
    samples that would have to move.
    """
    pairs = zip(np.transpose(model), np.transpose(reference), strict=True)
    bins = MISPLACED_BINS
    return np.array([0.5 * np.sum(np.abs(marginal(a, bins) - marginal(b, bins))) for a, b in pairs])


ENTRIES = [
    Metric(
        "torsion_js_distance", "Torsions one by one, Jensen–Shannon distance", "torsions", "√nats",
        "Root of the Jensen-Shannon divergence of each torsion's histogram, 100 bins on "
        "[-pi, pi]; mean over the torsions.",
        "MDGen (arXiv 2409.17808), there printed as 'JSD'",
        plain(lambda a, b: float(np.mean(js_distances(a, b)))),
    ),
    Metric(
        "torsion_misplaced_worst", "Worst torsion, misplaced share", "torsions", "share",
        "Total variation distance of a torsion's histogram, 36 bins on [-pi, pi]: the smallest "
        "share of samples that would have to move; largest over the torsions.",
        "molflow", plain(lambda a, b: float(np.max(misplaced(a, b)))),
    ),
]  # fmt: skip
