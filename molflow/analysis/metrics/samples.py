"""Metrics of single samples: how many are valid, and how evenly weights are spread."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric
from molflow.analysis.pareto_tail import pareto_k
from molflow.analysis.weighting import share

#: Share of the largest weights that `kish_ess_clipped` cuts down to the next smaller one.
CLIPPED = 0.002


def kish_ess(log_weights: np.ndarray) -> float:
    """Effective share of samples (sum w)² / (n sum w²) of log-weights (n,); 1 for equal ones."""
    weights = np.exp(log_weights - np.max(log_weights))
    return float(weights.sum() ** 2 / (len(weights) * np.sum(weights**2)))


def kish_ess_clipped(log_weights: np.ndarray) -> float:
    """`kish_ess` after the largest 0.2 % of the weights were cut to the next smaller weight."""
    clipped = int(np.ceil(CLIPPED * len(log_weights)))
    if clipped >= len(log_weights):
        return kish_ess(log_weights)
    level = np.sort(log_weights)[-clipped - 1]
    # Where nothing smaller has a weight there is nothing to cut down to.
    return kish_ess(np.minimum(log_weights, level) if np.isfinite(level) else log_weights)


def largest_weight(log_weights: np.ndarray) -> float:
    """Share of the largest weight in the sum of all."""
    weights = np.exp(log_weights - np.max(log_weights))
    return float(1.0 / weights.sum())


ENTRIES = [
    Metric(
        "invalid_share", "Invalid samples", "passed", "share",
        "Share of the samples that are not finite or have a bond more than 0.05 nm from its "
        "reference mean, a non-bonded pair closer than 0.1 nm, or a stereocentre of the wrong "
        "hand; nothing is repaired first.",
        "molflow",
        lambda model, _reference, _rng, weights=None, _other=None: share(~model, weights),
    ),
    Metric(
        "kish_ess", "Effective sample size", "log_weights", "share",
        "(sum of w)² / (n sum of w²) of the importance weights, not clipped.",
        "Kish 1965; FALCON, SBG and ECNF++ tables ('ESS')",
        lambda model, _reference, _rng: kish_ess(model), better="larger",
    ),
    Metric(
        "kish_ess_clipped", "Effective sample size, clipped", "log_weights", "share",
        "kish_ess after the largest 0.2 % of the weights were cut to the next smaller one.",
        "transferable Boltzmann generators and their successors",
        lambda model, _reference, _rng: kish_ess_clipped(model), better="larger",
    ),
    Metric(
        "largest_weight", "Largest weight", "log_weights", "share",
        "Share of the largest importance weight in the sum of all.",
        "molflow", lambda model, _reference, _rng: largest_weight(model),
    ),
    Metric(
        "pareto_k", "Tail index of the weights", "log_weights", "1",
        "Shape of a generalised Pareto law fitted to the largest weights; below 0.7 estimates are "
        "useful, from 1 on weights have no mean. NaN for too few.",
        "PSIS (Vehtari et al., J. Mach. Learn. Res. 25, 72 (2024))",
        lambda model, _reference, _rng: np.nan if (k := pareto_k(model)) is None else k,
    ),
]  # fmt: skip
