"""Whether weights may be trusted, in sentences."""

from __future__ import annotations

import numpy as np

from molflow.analysis.observables import BASIN_NAMES, basin_marks
from molflow.analysis.torsions import phi_psi, phi_psi_indices
from molflow.analysis.weight_report import LARGEST_SHARE, describe_weights
from molflow.analysis.weighting import normalised
from molflow.errors import MolflowError
from molflow.exact.own_shares import bias_of, own_shares

#: Effective samples of a basin below which its share says little.
FEWEST = 20


def judge_weights(
    log_weights: np.ndarray, sign: np.ndarray, trajectory, log_factors: np.ndarray | None = None
) -> dict:
    """Return how weights are spread, what speaks against trusting them, and what they correct.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Minus infinity for no weight.
    sign : ndarray, (n,)
        Of the Jacobians.
    trajectory : mdtraj.Trajectory
        The n conformations.
    log_factors : ndarray, (n,), optional
        The part of `log_weights` that counts draws a conformation stands for; by default one each.

    Returns
    -------
    dict
        What `describe_weights` says; ``without_weight`` and ``folds``, counts; ``own_shares`` of
        the basins, the map's beside those by weights; ``doubts`` and ``corrected``, lists of
        sentences, empty where nothing was seen: what speaks against the weights, and which bias of
        the map they take away.

    Raises
    ------
    MolflowError
        If no sample has any weight.
    """
    if not np.isfinite(log_weights).any():
        raise MolflowError(
            f"none of the {len(log_weights)} samples has a weight: the map does not reach the "
            "molecule of the force field; compare it with molecular dynamics first."
        )
    basins = _basins(trajectory)
    spread = describe_weights(normalised(log_weights), basins)
    folds = int(np.sum(sign < 0))
    doubts = []
    if folds:
        doubts.append(
            f"{folds} of {len(sign)} Jacobians are negative: the flow is folded there, and weights "
            "of folded places count their conformations more than once."
        )
    if spread["largest_share"] > LARGEST_SHARE[0]:
        doubts.append(
            f"one conformation has {spread['largest_share']:.0%} of all weight: what it is decides "
            "every mean; draw more samples."
        )
    k, most = spread["pareto_k"], spread["largest_k"]
    if k is not None and k > most:
        doubts.append(
            f"the weights have a heavy tail (Pareto k {k:.2f}, reliable up to {most:.2f}): the "
            "effective size overstates what they are worth, and means converge slowly."
        )
    factors = np.zeros(len(log_weights)) if log_factors is None else log_factors
    shares = own_shares(log_weights - factors, factors, basins or {})
    corrected = []
    for name, basin in spread["basins"].items():
        if basin["effective"] < FEWEST:
            doubts.append(
                f"{BASIN_NAMES[name]} has {basin['samples']} samples worth "
                f"{basin['effective']:.1f}: its share is not known from these weights."
            )
        elif name in shares and (sentence := bias_of(name, **shares[name])):
            corrected.append(sentence)
    return {
        **spread,
        "without_weight": int(np.sum(~np.isfinite(log_weights))),
        "folds": folds,
        "own_shares": shares,
        "doubts": doubts,
        "corrected": corrected,
    }


def format_weights(record: dict) -> str:
    """Return what the command line says of weighted samples.

    Parameters
    ----------
    record : dict
        ``weighted`` of the ensemble's record.
    """
    spread = record["spread"]
    lines = [
        f"{spread['effective']:.0f} effective of {spread['n']} samples "
        f"({spread['effective_share']:.1%}), {record['effective_per_core_second']:.3g} a second "
        f"of one core; largest share {spread['largest_share']:.1%}, Pareto k "
        + ("unknown" if spread["pareto_k"] is None else f"{spread['pareto_k']:.2f}")
    ]
    lines += [
        f"  {BASIN_NAMES[name]}: {basin['effective']:.0f} effective of {basin['samples']}"
        for name, basin in spread["basins"].items()
    ]
    lines += [f"Corrected by the weights: {sentence}" for sentence in spread.get("corrected", [])]
    lines += [f"Not to be trusted as it is: {sentence}" for sentence in spread["doubts"]]
    return "\n".join(lines)


def _basins(trajectory) -> dict[str, np.ndarray] | None:
    try:
        phi_psi_indices(trajectory.topology)
    except MolflowError:
        return None  # no single residue with phi and psi, so no named basins
    return basin_marks(phi_psi(trajectory))
