"""Metrics of bond lengths, angles and impropers."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric, plain
from molflow.analysis.molecule.geometry import sd_ratio, w1_per_term


def median_w1(model, reference, model_weights=None, reference_weights=None) -> float:
    """Median over the terms of the Wasserstein-1 distance of the marginals; (n, k) and (m, k)."""
    return float(np.median(w1_per_term(model, reference, model_weights, reference_weights)))


def sd_error(model, reference, model_weights=None, reference_weights=None) -> float:
    """Median over the terms of |ln(sd of the model / sd of the reference)|."""
    ratio = sd_ratio(model, reference, model_weights, reference_weights)
    with np.errstate(divide="ignore"):
        return float(np.nanmedian(np.abs(np.log(ratio))))


def stiffness(model, reference, model_weights=None, reference_weights=None) -> float:
    """Median over the terms of (sd of the reference / sd of the model)², less 1.

    A harmonic term of force constant k has the variance kT/k, so this is by how much the terms
    look too stiff: 0.2 for force constants 20 % too large.
    """
    ratio = sd_ratio(model, reference, model_weights, reference_weights)
    with np.errstate(divide="ignore"):
        return float(np.nanmedian(ratio**-2.0) - 1.0)


def _entries(kind: str, unit: str) -> list[Metric]:
    title = f"{kind.capitalize()}s"
    return [
        Metric(
            f"{kind}_w1", f"{title}, Wasserstein-1", kind, unit,
            f"Median over the {kind}s of the Wasserstein-1 distance of the marginals.",
            "molflow; each as scipy's wasserstein_distance", plain(median_w1),
        ),
        Metric(
            f"{kind}_sd_error", f"{title}, error of the fluctuation", kind, "ln",
            f"Median over the {kind}s of |ln(sd of the model / sd of the reference)|.",
            "molflow", plain(sd_error),
        ),
        Metric(
            f"{kind}_stiffness", f"{title}, apparent excess stiffness", kind, "share",
            f"Median over the {kind}s of (sd of the reference / sd of the model)² less 1; 0.2 "
            "for force constants 20 % too large.",
            "equipartition", plain(stiffness), better="0", shown=kind == "bond",
        ),
    ]  # fmt: skip


ENTRIES = _entries("bond", "nm") + _entries("angle", "rad") + _entries("improper", "rad")
