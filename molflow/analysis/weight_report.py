"""What is said of weights: what they are worth, how they are spread, whether to trust them."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.samples import kish_ess_clipped
from molflow.analysis.observables import basin_marks
from molflow.analysis.pareto_tail import RELIABLE, pareto_k
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples
from molflow.analysis.weighting import effective_size

#: Largest share of a single conformation in the sum of all weights: good, fair.
LARGEST_SHARE = (0.05, 0.2)


def largest_k(n: int) -> float:
    """Return up to which tail index n weights can be trusted: min(1 - 1 / log10 n, 0.7)."""
    return float(min(1 - 1 / np.log10(max(n, 11)), RELIABLE))


def describe_weights(weights: np.ndarray, basins: dict[str, np.ndarray] | None = None) -> dict:
    """Return the spread of weights as a JSON-safe dict.

    Parameters
    ----------
    weights : ndarray, (n,)
        Sum of 1.
    basins : dict of str to ndarray, (n,) bool, optional

    Returns
    -------
    dict
        ``n``; ``effective`` (Kish), ``effective_share`` of n and the same ``clipped``;
        ``largest_share``; ``pareto_k`` (None for too few, or if the largest weights are equal) and
        ``largest_k`` up to which it is good; ``basins``: ``samples`` and ``effective`` of each.
    """
    n = len(weights)
    effective = effective_size(n, weights)
    with np.errstate(divide="ignore"):
        logarithms = np.log(weights)
    k = pareto_k(logarithms)
    return {
        "n": n,
        "effective": effective,
        "effective_share": effective / n,
        "effective_share_clipped": kish_ess_clipped(logarithms),
        "largest_share": float(weights.max()),
        "pareto_k": None if k is None or not np.isfinite(k) else k,
        "largest_k": largest_k(n),
        "basins": {
            name: {"samples": int(marks.sum()), "effective": _worth(weights[marks])}
            for name, marks in (basins or {}).items()
        },
    }


def _worth(weights: np.ndarray) -> float:
    total = weights.sum()
    return float(total**2 / np.sum(weights**2)) if total > 0 else 0.0


def weights_of_both(samples: Samples, scored: Reference) -> dict:
    """Return what is to be said of the weights of an ensemble and of its reference.

    Parameters
    ----------
    samples : Samples
        Finite ones.
    scored : Reference
        The runs that are scored against.

    Returns
    -------
    dict
        ``model`` and ``reference``, each from `describe_weights` or None for equal weights.
    """
    pairs, columns = samples.features.pairs, samples.features.columns

    def basins(torsions: np.ndarray) -> dict | None:
        return basin_marks(torsions[:, pairs[0]]) if len(pairs) == 1 else None

    truth = scored.torsions[:, columns]
    sides = {"model": (samples.weights, samples.torsions), "reference": (scored.weights, truth)}
    return {
        side: None if weights is None else describe_weights(weights, basins(torsions))
        for side, (weights, torsions) in sides.items()
    }
