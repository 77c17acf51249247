"""Plain quantities with intervals: populations of basins, free energy of alpha-L, energies."""

from __future__ import annotations

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.reference import Reference
from molflow.analysis.statistics import block_length, resample, torsion_inefficiency
from molflow.analysis.torsion_metrics import delta_f_alpha_l, in_alpha_l

#: psi range of the right-handed helix, rad; the rest of phi outside (0, 2) is called beta.
ALPHA_R_PSI = (-2.1, 0.9)
_REPEATS = 200


def basin_shares(torsions: np.ndarray) -> dict[str, float]:
    """Return the shares of alpha-L (0 < phi < 2 rad), alpha-R and beta, which sum to 1.

    alpha-R has psi between -2.1 and 0.9 rad, beta (with C5, C7eq and PII) the rest.
    """
    left = in_alpha_l(torsions)
    helix = (torsions[:, 1] > ALPHA_R_PSI[0]) & (torsions[:, 1] < ALPHA_R_PSI[1])
    return {
        "beta": float(np.mean(~left & ~helix)),
        "alpha_r": float(np.mean(~left & helix)),
        "alpha_l": float(np.mean(left)),
    }


def _alpha_l(torsions: np.ndarray, runs: np.ndarray, block: int, rng) -> dict:
    count = int(np.count_nonzero(in_alpha_l(torsions)))
    values = [
        delta_f_alpha_l(torsions[resample(runs, block, rng)], least=0.5) for _ in range(_REPEATS)
    ]
    value = delta_f_alpha_l(torsions)
    seen = np.isfinite(value)
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "value": float(value) if seen else None,
        "interval": [float(low), float(high)] if seen else None,
        "bound": None if seen else delta_f_alpha_l(torsions, least=0.5),
        "samples_in_alpha_l": count,
        "unit": "kT",
    }


def observables(
    torsions: np.ndarray, energies: np.ndarray | None, reference: Reference,
    inefficiency: float, rng: np.random.Generator,
) -> dict:  # fmt: skip
    """Return plain quantities of the model and of the reference.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        Of the model, rad.
    energies : ndarray, (n,), or None
        Of the model, kJ/mol.
    reference : Reference
        The runs that are scored against.
    inefficiency : float
        Statistical inefficiency of the reference, frames.
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        ``basins``, ``delta_f_alpha_l`` (95 % percentile intervals of a block bootstrap) and
        ``energy`` (mean and standard deviation of U/kT), each with ``model`` and ``reference``.
        ``delta_f_alpha_l`` also has ``stored``, the estimate that the reference brings, or None.
    """
    zeros = np.zeros(len(torsions), int)
    own = block_length(torsion_inefficiency(torsions), len(torsions))
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    result = {
        "basins": {
            "model": basin_shares(torsions),
            "reference": basin_shares(reference.torsions),
        },
        "delta_f_alpha_l": {
            "model": _alpha_l(torsions, zeros, own, rng),
            "reference": _alpha_l(
                reference.torsions, reference.replica, block_length(inefficiency, longest), rng
            ),
            "stored": reference.delta_f_alpha_l,
        },
    }
    if energies is not None and np.isfinite(energies).any():
        sides = {"model": energies[np.isfinite(energies)], "reference": reference.energies}
        reduced = {k: reduced_energies(v, reference.temperature) for k, v in sides.items()}
        result["energy"] = {
            side: {"mean": float(u.mean()), "sd": float(u.std()), "median": float(np.median(u))}
            for side, u in reduced.items()
        } | {"unit": "kT", "not_finite": int(np.count_nonzero(~np.isfinite(energies)))}
    return result
