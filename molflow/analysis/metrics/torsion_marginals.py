"""Metrics of single torsions, for every molecule that has any."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric, plain
from molflow.analysis.torsion_metrics import jensen_shannon

#: Bins of `torsion_js_distance` and of `torsion_misplaced`.
JS_BINS, MISPLACED_BINS = 100, 36


def marginal(angles: np.ndarray, bins: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the share of angles (n,) rad in each of `bins` cells between -pi and pi."""
    cell = np.floor((np.asarray(angles, np.float64) + np.pi) / (2 * np.pi) * bins).astype(np.int64)
    cell = np.clip(cell, 0, bins - 1)
    if weights is not None:
        return np.bincount(cell, weights, minlength=bins)
    return np.bincount(cell, minlength=bins) / len(angles)


def _histograms(model, reference, bins: int, model_weights, reference_weights):
    """Return pairs of the shares of every torsion, model and reference."""
    return [
        (marginal(a, bins, model_weights), marginal(b, bins, reference_weights))
        for a, b in zip(np.transpose(model), np.transpose(reference), strict=True)
    ]


def js_distances(model, reference, model_weights=None, reference_weights=None) -> np.ndarray:
    """Return the Jensen-Shannon distance (root of nats) of every torsion, (k,)."""
    pairs = _histograms(model, reference, JS_BINS, model_weights, reference_weights)
    return np.sqrt([jensen_shannon(p, q) for q, p in pairs])


def misplaced(model, reference, model_weights=None, reference_weights=None) -> np.ndarray:
    """Return the share of samples in the wrong bin of 10 degrees, for every torsion, (k,).

    The total variation distance, half the sum of |q - p|: the smallest share of the model's
    samples that would have to move.
    """
    pairs = _histograms(model, reference, MISPLACED_BINS, model_weights, reference_weights)
    return np.array([0.5 * np.sum(np.abs(q - p)) for q, p in pairs])


ENTRIES = [
    Metric(
        "torsion_js_distance", "Torsions one by one, Jensen–Shannon distance", "torsions", "√nats",
        "Root of the Jensen-Shannon divergence of each torsion's histogram, 100 bins on "
        "[-pi, pi]; mean over the torsions.",
        "MDGen (arXiv 2409.17808), there printed as 'JSD'",
        plain(lambda a, b, *weights: float(np.mean(js_distances(a, b, *weights)))),
    ),
    Metric(
        "torsion_misplaced_worst", "Worst torsion, misplaced share", "torsions", "share",
        "Total variation distance of a torsion's histogram, 36 bins on [-pi, pi]: the smallest "
        "share of samples that would have to move; largest over the torsions.",
        "molflow", plain(lambda a, b, *weights: float(np.max(misplaced(a, b, *weights)))),
    ),
]  # fmt: skip
