"""Plain quantities: populations of basins and wells, free energy of alpha-L, energies, copies."""

from __future__ import annotations

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.metrics.torsion_marginals import misplaced
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples
from molflow.analysis.statistics import (
    block_length,
    bootstrap_sd,
    resample,
    share_of,
    torsion_inefficiency,
)
from molflow.analysis.torsion_metrics import delta_f_alpha_l, in_alpha_l
from molflow.analysis.torsion_wells import well_edges, well_middles, well_shares

#: psi range of the right-handed helix, rad; the rest of phi outside (0, 2) is called beta.
ALPHA_R_PSI = (-2.1, 0.9)
#: What people call the basins.
BASIN_NAMES = {"beta": "β", "alpha_r": "αR", "alpha_l": "αL"}
_REPEATS, _ENERGY_REPEATS = 200, 50


def basin_marks(torsions: np.ndarray) -> dict[str, np.ndarray]:
    """Return which of (phi, psi) (n, 2) in rad are in each basin, bool (n,) each.

    alpha-L has 0 < phi < 2 rad, alpha-R psi between -2.1 and 0.9 rad, beta (with C5, C7eq and PII)
    is the rest.
    """
    left = in_alpha_l(torsions)
    helix = (torsions[:, 1] > ALPHA_R_PSI[0]) & (torsions[:, 1] < ALPHA_R_PSI[1])
    return {"beta": ~left & ~helix, "alpha_r": ~left & helix, "alpha_l": left}


def basin_shares(torsions: np.ndarray) -> dict[str, float]:
    """Return the shares of the basins of `basin_marks`, which sum to 1."""
    return {name: float(np.mean(marks)) for name, marks in basin_marks(torsions).items()}


def _basin_errors(torsions: np.ndarray, runs: np.ndarray) -> dict[str, float]:
    return {name: share_of(marks, runs).error for name, marks in basin_marks(torsions).items()}


def _energy_row(reduced: np.ndarray, runs: np.ndarray, block: int, rng) -> dict:
    def row(values: np.ndarray) -> np.ndarray:
        return np.array([values.mean(), values.std(), np.median(values)])

    errors = bootstrap_sd(lambda: row(reduced[resample(runs, block, rng)]), _ENERGY_REPEATS)
    names = ("mean", "sd", "median")
    values = dict(zip(names, row(reduced).tolist(), strict=True))
    return values | {
        "errors": dict(zip(names, errors.tolist(), strict=True)), "samples": len(reduced)
    }  # fmt: skip


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


def torsion_table(samples: Samples, reference: Reference) -> list[dict]:
    """Return one row per torsion: misplaced share and the shares of the reference's wells."""
    features, rows = samples.features, []
    truth = reference.torsions[:, features.columns]
    moved = misplaced(samples.torsions, truth)
    for i, torsion in enumerate(features.torsions):
        edges = well_edges(truth[:, i])
        rows.append({
            "name": torsion.name,
            "misplaced": float(moved[i]),
            "wells": [
                {"middle": float(middle), "model": float(model), "reference": float(share)}
                for middle, model, share in zip(
                    well_middles(edges), well_shares(samples.torsions[:, i], edges),
                    well_shares(truth[:, i], edges), strict=True,
                )
            ],
        })  # fmt: skip
    return rows


def repeated_samples(fingerprints: np.ndarray, numbers: np.ndarray) -> dict[str, int]:
    """Return how many of the samples are bitwise copies of an earlier one, and of which most.

    `fingerprints` and `numbers` are (n,): `molflow.analysis.samples.Samples` and the number of
    each sample in the ensemble.
    """
    _, first, counts = np.unique(fingerprints, return_index=True, return_counts=True)
    most = int(counts.argmax())
    return {
        "copies": int(len(fingerprints) - len(counts)),
        "most": int(counts[most]),
        "sample": int(numbers[first[most]]),
    }


def observables(
    samples: Samples, reference: Reference, inefficiency: float, rng: np.random.Generator
) -> dict:
    """Return plain quantities of the model and of the reference.

    Parameters
    ----------
    samples : Samples
        Finite ones.
    reference : Reference
        The runs that are scored against.
    inefficiency : float
        Statistical inefficiency of the reference, frames.
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        ``residues``: by name of every residue with phi and psi, ``basins``, their standard errors
        ``basin_errors`` and ``delta_f_alpha_l`` (95 % percentile intervals of a block bootstrap),
        each with ``model`` and ``reference``; ``basins`` and ``delta_f_alpha_l`` beside it are
        those of the only residue, or None.
        ``torsions``: a row per torsion. ``repeated``: bitwise copies. ``energy``: mean, median and
        standard deviation of U/kT with standard ``errors`` of a block bootstrap.
        ``delta_f_alpha_l`` also has ``stored``, the estimate that the reference brings, or None.
    """
    features = samples.features
    zeros = np.zeros(len(samples), int)
    phi = [int(i) for i in features.pairs[:, 0]]
    own = block_length(torsion_inefficiency(samples.torsions, phi=phi), len(samples))
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    block = block_length(inefficiency, longest)
    truth = reference.torsions[:, features.columns]
    residues = {}
    for name, pair in zip(features.residues, features.pairs, strict=True):
        mine, theirs = samples.torsions[:, pair], truth[:, pair]
        residues[name] = {
            "basins": {"model": basin_shares(mine), "reference": basin_shares(theirs)},
            "basin_errors": {
                "model": _basin_errors(mine, zeros),
                "reference": _basin_errors(theirs, reference.replica),
            },
            "delta_f_alpha_l": {
                "model": _alpha_l(mine, zeros, own, rng),
                "reference": _alpha_l(theirs, reference.replica, block, rng),
                "stored": reference.delta_f_alpha_l if len(features.pairs) == 1 else None,
            },
        }
    only = next(iter(residues.values())) if len(residues) == 1 else {}
    result = {
        "basins": only.get("basins"),
        "delta_f_alpha_l": only.get("delta_f_alpha_l"),
        "residues": residues,
        "torsions": torsion_table(samples, reference),
        "repeated": repeated_samples(
            samples.fingerprints, np.flatnonzero(samples.validity.finite)
        ),
    }
    known = reference.energies is not None and reference.temperature is not None
    energies = samples.energies
    if known and energies is not None and np.isfinite(energies).any():
        finite = np.isfinite(energies)
        sides = {
            "model": (energies[finite], zeros[finite], own),
            "reference": (reference.energies, reference.replica, block),
        }
        result["energy"] = {
            side: _energy_row(reduced_energies(u, reference.temperature), runs, length, rng)
            for side, (u, runs, length) in sides.items()
        } | {"unit": "kT", "not_finite": int(np.count_nonzero(~np.isfinite(energies)))}
    return result
