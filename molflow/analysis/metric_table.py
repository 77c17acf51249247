"""The scores that a comparison reports, with unit and definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molflow.analysis import energy_metrics, torsion_metrics
from molflow.analysis.geometry import Term, sd_ratio, w1_per_term

Score = Callable[[np.ndarray, np.ndarray, np.random.Generator], float]


@dataclass(frozen=True)
class Metric:
    """A score of one kind of data: a distance, 0 for equal distributions (bar sampling)."""

    name: str
    title: str
    unit: str
    definition: str
    score: Score
    slow: bool = False


def _plain(function: Callable[[np.ndarray, np.ndarray], float]) -> Score:
    return lambda model, reference, _: function(model, reference)


def _first_line(function: Callable) -> str:
    return function.__doc__.split("\n\n")[0].strip()


def _delta_f_error(model: np.ndarray, reference: np.ndarray) -> float:
    # Half a count stands in for none, so that a missing basin gives a finite lower bound.
    values = [torsion_metrics.delta_f_alpha_l(x, least=0.5) for x in (model, reference)]
    return abs(values[0] - values[1])


def torsion_scores() -> list[Metric]:
    """Return the scores of (phi, psi) arrays, (n, 2) rad; the headline first."""
    t = torsion_metrics
    return [
        Metric(
            "fes_rmse", "Free-energy map, RMSE", "kT",
            "72x72 periodic histogram smoothed by a wrapped Gaussian of 10 degrees, F = -ln p; "
            "RMSE weighted by the reference density over bins with reference F < 6 kT, after the "
            "best constant shift; model F capped at 8 kT.",
            _plain(t.fes_rmse),
        ),
        Metric(
            "delta_f_alpha_l_error", "Free energy of alpha-L, error", "kT",
            "|difference| of -ln[P(0 < phi < 2 rad) / P(rest)]; an empty side counts as half a "
            "sample, which gives a lower bound.",
            _plain(_delta_f_error),
        ),
        Metric(
            "pmf_error", "PMF error", "(kT)²",
            "62x62 bins on [-pi, pi], union of occupied bins, missing side 1e-6, sum of "
            "w (ln q - ln p)^2 with w proportional to (p + q)/2; no shift, clip or root.",
            _plain(t.pmf_error),
        ),
        Metric("js_divergence", "Jensen–Shannon divergence", "nats",
               _first_line(t.js_divergence), _plain(t.js_divergence)),
        Metric("js_distance", "Jensen–Shannon distance", "√nats",
               "Square root of js_divergence.", _plain(t.js_distance)),
        Metric("js_divergence_pooled", "Jensen–Shannon divergence, pooled edges", "nats",
               _first_line(t.js_divergence_pooled), _plain(t.js_divergence_pooled)),
        Metric(
            "torus_w2", "Torus Wasserstein-2", "rad",
            "Root of the exact optimal transport cost, sum over angles of "
            f"min(|d|, 2 pi - |d|)^2, on each side thinned evenly to {t.TORUS_W2_SIZE} samples "
            "at most; mean of two thinnings.",
            t.torus_w2, slow=True,
        ),
    ]  # fmt: skip


def energy_scores() -> list[Metric]:
    """Return the scores of reduced energies, (n,) in kT."""
    e = energy_metrics
    return [
        Metric("energy_w1", "Energy, Wasserstein-1", "kT",
               "Wasserstein-1 distance of the potential energies U/kT, uncropped.",
               _plain(e.energy_w1)),
        Metric("energy_w2", "Energy, Wasserstein-2", "kT",
               "Wasserstein-2 distance of the potential energies U/kT, uncropped.",
               _plain(e.energy_w2)),
        Metric("energy_tail", "Energies beyond the reference", "share",
               "Share of samples above the reference's 99.9 % quantile; 0.001 is right.",
               _plain(e.energy_tail)),
    ]  # fmt: skip


def geometry_scores(term_list: list[Term]) -> list[Metric]:
    """Return the scores of internal coordinates, (n, len(term_list)) in nm and rad."""
    kinds = np.array([term.kind for term in term_list])
    found = []
    for kind in (k for k in ("bond", "angle", "improper") if k in kinds):
        columns = np.flatnonzero(kinds == kind)

        def w1(model, reference, _, columns=columns):
            return float(np.median(w1_per_term(model[:, columns], reference[:, columns])))

        def width(model, reference, _, columns=columns):
            ratio = sd_ratio(model[:, columns], reference[:, columns])
            with np.errstate(divide="ignore"):
                return float(np.nanmedian(np.abs(np.log(ratio))))

        unit = "nm" if kind == "bond" else "rad"
        found += [
            Metric(f"{kind}_w1", f"{kind.capitalize()}s, Wasserstein-1", unit,
                   f"Median over {len(columns)} {kind}s of the Wasserstein-1 distance of the "
                   "marginals.", w1),
            Metric(f"{kind}_sd_error", f"{kind.capitalize()}s, error of the fluctuation", "ln",
                   f"Median over {len(columns)} {kind}s of |ln(sd of the model / sd of the "
                   "reference)|.", width),
        ]  # fmt: skip
    return found
