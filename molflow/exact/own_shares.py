"""A map's own shares of basins beside those by weights: whether its plain samples are biased."""

from __future__ import annotations

import numpy as np

from molflow.analysis.observables import BASIN_NAMES

#: Standard errors beyond which a difference of shares is not chance.
_SURE = 3.0
#: kT of a basin's free energy below which a bias is not worth a word.
_SMALL = 0.1


def own_shares(
    log_weights: np.ndarray, log_factors: np.ndarray, basins: dict[str, np.ndarray]
) -> dict[str, dict]:
    r"""Return how often a map draws each basin, and how often it should by its weights.

    The map's error in a basin's free energy, D = logit P_w − logit P_q (kT), has the linear parts

        ψ = w (1_b − P_w) / [⟨w⟩ P_w (1 − P_w)] − (1_b − P_q) / [P_q (1 − P_q)],

    1_b telling whether a draw is in the basin, and with M draws, of which m_k of the M_k in
    stratum k are weighed (Neyman 1938),

        Var D = Σ_k (M_k/M)² Var_k(ψ)/m_k + Σ_k (M_k/M) ⟨ψ⟩_k²/M,

    since Σ_k (M_k/M) ⟨ψ⟩_k = 0. Both shares are of the same draws, so that what they have in
    common is not counted as error.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        ln of the ratio of densities, target to map, up to one constant for all; minus infinity
        for no weight.
    log_factors : ndarray, (n,)
        ln of how many draws each stands for; those of one stratum are equal.
    basins : dict of str to ndarray, (n,) bool

    Returns
    -------
    dict
        For each basin whose shares are neither 0 nor 1: ``own`` and ``weighted`` share, ``bias`` D
        of its free energy, positive where the map draws it too rarely, and ``bias_error``.
    """
    draws = np.exp(log_factors)
    own = draws / draws.sum()
    finite = np.isfinite(log_weights)
    ratios = np.zeros(len(log_weights))
    ratios[finite] = np.exp(log_weights[finite] - log_weights[finite].max())
    mean = float(own @ ratios)
    _, stratum, weighed = np.unique(
        np.round(log_factors, 9), return_inverse=True, return_counts=True
    )
    part = np.bincount(stratum, own)
    found = {}
    for name, marks in basins.items():
        ours, theirs = float(own @ marks), float(own @ (ratios * marks)) / mean
        if not (0.0 < ours < 1.0 and 0.0 < theirs < 1.0):
            continue
        linear = ratios * (marks - theirs) / (mean * theirs * (1.0 - theirs))
        linear = linear - (marks - ours) / (ours * (1.0 - ours))
        level = np.bincount(stratum, linear) / weighed
        rest = np.bincount(stratum, (linear - level[stratum]) ** 2) / np.maximum(weighed - 1, 1)
        variance = np.sum(part**2 * rest / weighed) + np.sum(part * level**2) / draws.sum()
        found[name] = {
            "own": ours,
            "weighted": theirs,
            "bias": float(np.log(theirs / (1.0 - theirs)) - np.log(ours / (1.0 - ours))),
            "bias_error": float(np.sqrt(variance)),
        }
    return found


def bias_of(name: str, own: float, weighted: float, bias: float, bias_error: float) -> str | None:
    """Return what is to be said of a map that draws a basin too often or too rarely.

    Parameters
    ----------
    name : str
        Of the basin, as in `BASIN_NAMES`.
    own, weighted, bias, bias_error : float
        As from `own_shares`.

    Returns
    -------
    str or None
        None where the difference may be chance, or is below a tenth of kT.
    """
    if abs(bias) < max(_SMALL, _SURE * bias_error):
        return None
    return (
        f"the map draws {BASIN_NAMES[name]} {own / weighted:.2f} times as often as the weights say "
        f"({own:.2%} against {weighted:.2%}, a free energy {abs(bias):.2f} ± {bias_error:.2f} kT "
        f"too {'high' if bias > 0 else 'low'}): its samples without weights are biased so."
    )
