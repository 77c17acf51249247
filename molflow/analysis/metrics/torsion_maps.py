"""Metrics of (phi, psi) maps; of several residues the mean over residues is the score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from molflow.analysis import torsion_metrics as t
from molflow.analysis.metrics.entry import Metric, Score, first_line

#: Bins an angle and cut-off (kT) of `fes_mae_cutoff`; what stands in for a bin without samples.
MAE_BINS, MAE_CUTOFF, MAE_CAP = 50, 5.0, 8.0
#: Bins an angle and the constant of `kld_epsilon`.
KLD_BINS, KLD_EPSILON = 64, 1e-10


def fes_mae_cutoff(model, reference, model_weights=None, reference_weights=None) -> float:
    """Mean absolute error of the free-energy map over bins with reference F < 5 kT, kT.

    50 x 50 bins on [-pi, pi], not smoothed; F = -ln p above each map's own minimum, no shift
    and no weights; a bin without samples of the model counts as 8 kT.
    """
    density = t.torsion_shares(reference, MAE_BINS, weights=reference_weights)
    truth = t.free_energy(density)
    inside = truth < MAE_CUTOFF
    shares = t.torsion_shares(model, MAE_BINS, weights=model_weights)
    found = t.free_energy(shares, cap=MAE_CAP)
    return float(np.mean(np.abs(found[inside] - truth[inside])))


def kld_epsilon(model, reference, model_weights=None, reference_weights=None) -> float:
    """Kullback-Leibler divergence of the model from the reference on 64 x 64 bins, nats.

    Sum of p ln[(p + e)/(q + e)], p the reference's and q the model's share of a bin, e = 1e-10:
    a bin that the model never visits costs p ln(p/e), so the constant decides what a hole costs.
    """
    p = t.torsion_shares(reference, KLD_BINS, weights=reference_weights)
    q = t.torsion_shares(model, KLD_BINS, weights=model_weights)
    return float(np.sum(p * np.log((p + KLD_EPSILON) / (q + KLD_EPSILON))))


def delta_f_alpha_l_error(model, reference, model_weights=None, reference_weights=None) -> float:
    """Absolute difference of -ln[P(0 < phi < 2 rad) / P(rest)], kT.

    Half a count stands in for none, so that a missing basin gives a finite lower bound.
    """
    own = t.delta_f_alpha_l(model, 0.5, model_weights)
    return abs(own - t.delta_f_alpha_l(reference, 0.5, reference_weights))


def residue_mean(function: Callable[..., float]) -> Score:
    """Return the mean of a function of (n, 2) arrays over the residues of (n, residues, 2)."""

    def score(model: np.ndarray, reference: np.ndarray, _, *weights) -> float:
        residues = range(model.shape[1])
        return float(np.mean([function(model[:, r], reference[:, r], *weights) for r in residues]))

    return score


def _entry(name, title, unit, definition, source, function, **options) -> Metric:
    return Metric(
        name, title, "backbone", unit, definition, source, residue_mean(function), **options
    )


ENTRIES = [
    _entry(
        "fes_rmse", "Free-energy map, RMSE", "kT",
        "72x72 periodic histogram smoothed by a wrapped Gaussian of 10 degrees, F = -ln p; "
        "RMSE weighted by the reference density over bins with reference F < 6 kT, after the "
        "best constant shift; model F capped at 8 kT.",
        "molflow", t.fes_rmse,
    ),
    _entry(
        "delta_f_alpha_l_error", "Free energy of alpha-L, error", "kT",
        "|difference| of -ln[P(0 < phi < 2 rad) / P(rest)]; an empty side counts as half a "
        "sample, which gives a lower bound.",
        "molflow", delta_f_alpha_l_error,
    ),
    _entry(
        "pmf_error", "PMF error", "(kT)²",
        "62x62 bins on [-pi, pi], union of occupied bins, missing side 1e-6, sum of "
        "w (ln q - ln p)^2 with w proportional to (p + q)/2; no shift, clip or root.",
        "ScoreMD; strong stochastic flow maps (arXiv 2606.01086)", t.pmf_error,
    ),
    _entry(
        "js_divergence", "Jensen–Shannon divergence", "nats", first_line(t.js_divergence),
        "strong stochastic flow maps (arXiv 2606.01086)", t.js_divergence,
    ),
    _entry(
        "js_distance", "Jensen–Shannon distance", "√nats",
        "Square root of js_divergence.",
        "what scipy's jensenshannon returns, printed as 'JSD' in published tables",
        t.js_distance,
    ),
    _entry(
        "js_divergence_pooled", "Jensen–Shannon divergence, pooled edges", "nats",
        first_line(t.js_divergence_pooled),
        "histogram edges taken from the data, as in published evaluation scripts",
        t.js_divergence_pooled,
    ),
    _entry(
        "fes_mae_cutoff", "Free-energy map, mean absolute error", "kT",
        "50x50 bins, not smoothed, F = -ln p above each minimum; unweighted mean of |difference| "
        "over bins with reference F < 5 kT, an empty bin of the model counting as 8 kT.",
        "the mean absolute error below a cut-off of protein emulators' tables; bins and cut-off "
        "are molflow's", fes_mae_cutoff, shown=False,
    ),
    _entry(
        "kld_epsilon", "Kullback–Leibler divergence with a constant", "nats",
        "64x64 bins, sum of p ln[(p + e)/(q + e)] with e = 1e-10, p the reference and q the "
        "model.",
        "flow annealed importance sampling bootstrap (arXiv 2208.01893)", kld_epsilon,
        shown=False,
    ),
]  # fmt: skip
