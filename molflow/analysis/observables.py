"""Plain quantities: populations of basins and wells, free energy of alpha-L, energies, copies."""

from __future__ import annotations

import numpy as np

from molflow.analysis import weighting
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


def basin_shares(torsions: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """Return the shares of the basins of `basin_marks`, which sum to 1."""
    return {
        name: weighting.share(marks, weights) for name, marks in basin_marks(torsions).items()
    }


def _basin_errors(torsions: np.ndarray, runs: np.ndarray, weights) -> dict[str, float]:
    marks = basin_marks(torsions)
    return {name: share_of(own, runs, weights).error for name, own in marks.items()}


def _energy_row(reduced: np.ndarray, runs: np.ndarray, block: int, weights, rng) -> dict:
    def row(rows: np.ndarray | slice) -> np.ndarray:
        values, own = reduced[rows], weighting.part_of(weights, rows)
        median = np.median(values) if own is None else weighting.quantile(values, 0.5, own)
        return np.array([weighting.mean(values, own), weighting.sd(values, own), median])

    errors = bootstrap_sd(lambda: row(resample(runs, block, rng)), _ENERGY_REPEATS)
    names = ("mean", "sd", "median")
    values = dict(zip(names, row(slice(None)).tolist(), strict=True))
    return values | {
        "errors": dict(zip(names, errors.tolist(), strict=True)), "samples": len(reduced)
    }  # fmt: skip


def _alpha_l(torsions: np.ndarray, runs: np.ndarray, block: int, weights, rng) -> dict:
    count = int(np.count_nonzero(in_alpha_l(torsions)))

    def again() -> float:
        rows = resample(runs, block, rng)
        return delta_f_alpha_l(torsions[rows], 0.5, weighting.part_of(weights, rows))

    values = [again() for _ in range(_REPEATS)]
    value = delta_f_alpha_l(torsions, weights=weights)
    seen = np.isfinite(value)
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "value": float(value) if seen else None,
        "interval": [float(low), float(high)] if seen else None,
        "bound": None if seen else delta_f_alpha_l(torsions, 0.5, weights),
        "samples_in_alpha_l": count,
        "unit": "kT",
    }


def torsion_table(samples: Samples, reference: Reference) -> list[dict]:
    """Return one row per torsion: misplaced share and the shares of the reference's wells."""
    features, rows = samples.features, []
    truth = reference.torsions[:, features.columns]
    mine, theirs = samples.weights, reference.weights
    moved = misplaced(samples.torsions, truth, mine, theirs)
    for i, torsion in enumerate(features.torsions):
        edges = well_edges(truth[:, i], theirs)
        rows.append({
            "name": torsion.name,
            "misplaced": float(moved[i]),
            "wells": [
                {"middle": float(middle), "model": float(model), "reference": float(share)}
                for middle, model, share in zip(
                    well_middles(edges), well_shares(samples.torsions[:, i], edges, mine),
                    well_shares(truth[:, i], edges, theirs), strict=True,
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
    most = int(counts.max())
    return {
        "copies": int(len(fingerprints) - len(counts)),
        "most": most,
        # Of several the first: the order of the marks changes from process to process.
        "sample": int(numbers[first[counts == most].min()]),
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
    weights, known_weights = samples.weights, reference.weights
    own = block_length(
        torsion_inefficiency(samples.torsions, phi=phi, weights=weights), len(samples)
    )
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    block = block_length(inefficiency, longest)
    truth = reference.torsions[:, features.columns]
    residues = {}
    for name, pair in zip(features.residues, features.pairs, strict=True):
        mine, theirs = samples.torsions[:, pair], truth[:, pair]
        residues[name] = {
            "basins": {
                "model": basin_shares(mine, weights),
                "reference": basin_shares(theirs, known_weights),
            },
            "basin_errors": {
                "model": _basin_errors(mine, zeros, weights),
                "reference": _basin_errors(theirs, reference.replica, known_weights),
            },
            "delta_f_alpha_l": {
                "model": _alpha_l(mine, zeros, own, weights, rng),
                "reference": _alpha_l(theirs, reference.replica, block, known_weights, rng),
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
    known, energies = reference.energies, samples.energies
    temperature = reference.temperature
    finite = np.zeros(0, bool) if energies is None else np.isfinite(energies)
    if known is not None and temperature is not None and energies is not None and finite.any():
        sides = {
            "model": (energies[finite], zeros[finite], own, weighting.part_of(weights, finite)),
            "reference": (known, reference.replica, block, known_weights),
        }
        result["energy"] = {
            side: _energy_row(reduced_energies(u, temperature), runs, length, w, rng)
            for side, (u, runs, length, w) in sides.items()
        } | {"unit": "kT", "not_finite": int(np.count_nonzero(~np.isfinite(energies)))}
    return result
