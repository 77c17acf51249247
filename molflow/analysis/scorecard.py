"""All scores of an ensemble, each beside its floor, excess, interval and sample sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.floor import Split, split_reference
from molflow.analysis.geometry import measure, term_table, terms
from molflow.analysis.metric_table import (
    Metric,
    energy_scores,
    geometry_scores,
    torsion_scores,
)
from molflow.analysis.observables import observables
from molflow.analysis.reference import Reference
from molflow.analysis.statistics import (
    block_length,
    bootstrap_sd,
    resample,
    torsion_inefficiency,
)
from molflow.analysis.validity import Validity, check_validity, stereocentres
from molflow.errors import MolflowError

#: Bootstrap repeats and draws of the floor, for quick scores, geometry and optimal transport.
_REPEATS = {"torsions": 100, "energies": 100, "terms": 20, "slow": 8}
_DRAWS = {"torsions": 10, "energies": 10, "terms": 3, "slow": 2}


@dataclass(frozen=True)
class Samples:
    """An ensemble to be judged.

    Attributes
    ----------
    torsions : ndarray, (n, 2)
        rad.
    positions : ndarray, (n, n_atoms, 3)
        nm.
    atoms : ndarray, (n_atoms,), int
        Which atoms of the reference these are, in increasing order.
    energies : ndarray, (n,), or None
        kJ/mol; None if unknown, as for coarse ensembles.
    """

    torsions: np.ndarray
    positions: np.ndarray
    atoms: np.ndarray
    energies: np.ndarray | None = None

    def take(self, keep: np.ndarray) -> Samples:
        """Return the samples that a mask or index names."""
        energies = None if self.energies is None else self.energies[keep]
        return Samples(self.torsions[keep], self.positions[keep], self.atoms, energies)


@dataclass(frozen=True)
class _Side:
    """One kind of data of one side: values (n, ...), run labels (n,), frames per block."""

    values: np.ndarray
    runs: np.ndarray
    block: int

    def again(self, rng: np.random.Generator) -> np.ndarray:
        return self.values[resample(self.runs, self.block, rng)]

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        if size >= len(self.values):
            return self.values
        return self.values[np.sort(rng.choice(len(self.values), size, replace=False))]


def _sides(reference: Reference, atoms: np.ndarray, term_list: list, inefficiency: float) -> dict:
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    block = block_length(inefficiency, longest)
    stride = len(reference.torsions) / max(1, len(reference.positions))
    # Thinned frames: the same block in time.
    thinned = max(1, round(block / stride))
    return {
        "torsions": _Side(reference.torsions, reference.replica, block),
        "energies": _Side(
            reduced_energies(reference.energies, reference.temperature), reference.replica, block
        ),
        "terms": _Side(
            measure(reference.positions[:, atoms], term_list),
            reference.replica[reference.position_frame],
            thinned,
        ),
    }


def _rows(
    metrics: list[Metric], kind: str, model: _Side, scored: _Side, floor: tuple[_Side, _Side],
    rng: np.random.Generator, intervals: bool,
) -> dict[str, dict]:  # fmt: skip
    rows = {}
    size = min(len(model.values), len(floor[0].values))
    for slow in (False, True):
        group = [metric for metric in metrics if metric.slow == slow]
        if not group:
            continue
        draws, repeats = (table["slow" if slow else kind] for table in (_DRAWS, _REPEATS))

        def all_scores(a: np.ndarray, b: np.ndarray, group: list[Metric] = group) -> np.ndarray:
            return np.array([metric.score(a, b, rng) for metric in group])

        # A slow score thins at random, so it is the mean of a few draws on both sides alike.
        times = draws if slow else 1
        values = np.mean([all_scores(model.values, scored.values) for _ in range(times)], axis=0)
        times = draws if slow or size < len(floor[0].values) else 1
        floors = np.mean(
            [all_scores(floor[0].draw(size, rng), floor[1].values) for _ in range(times)], axis=0
        )
        sd = np.full(len(group), np.nan)
        if intervals:
            sd = bootstrap_sd(
                lambda scores=all_scores: scores(model.again(rng), scored.again(rng)), repeats
            )
        for metric, value, lowest, spread in zip(group, values, floors, sd, strict=True):
            low = max(0.0, value - 1.96 * spread)
            rows[metric.name] = {
                "name": metric.name,
                "title": metric.title,
                "value": _number(value),
                "floor": _number(lowest),
                "excess": _number(value - lowest),
                "interval": [_number(low), _number(value + 1.96 * spread)] if intervals else None,
                "unit": metric.unit,
                "n_model": len(model.values),
                "n_reference": len(scored.values),
                "floor_n_model": size,
                "floor_n_reference": len(floor[1].values),
                "definition": metric.definition,
            }
    return {metric.name: rows[metric.name] for metric in metrics}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _score_part(
    samples: Samples, split: Split, term_list: list, inefficiency: float,
    rng: np.random.Generator, intervals: bool,
) -> dict[str, dict]:  # fmt: skip
    own = torsion_inefficiency(samples.torsions)
    block = block_length(own, len(samples.torsions))
    zeros = np.zeros(len(samples.torsions), int)
    model = {
        "torsions": _Side(samples.torsions, zeros, block),
        "terms": _Side(measure(samples.positions, term_list), zeros, block),
    }
    metrics = {"torsions": torsion_scores(), "terms": geometry_scores(term_list)}
    if samples.energies is not None:
        reduced = reduced_energies(samples.energies, split.scored.temperature)
        finite = np.isfinite(reduced)
        if finite.any():
            model["energies"] = _Side(reduced[finite], zeros[finite], block)
            metrics["energies"] = energy_scores()
    parts = [
        _sides(part, samples.atoms, term_list, inefficiency)
        for part in (split.scored, split.floor_model, split.floor_reference)
    ]
    rows = {}
    for kind in ("torsions", "energies", "terms"):
        if kind in metrics and all(len(part[kind].values) > 1 for part in parts):
            floor = (parts[1][kind], parts[2][kind])
            rows |= _rows(metrics[kind], kind, model[kind], parts[0][kind], floor, rng, intervals)
    return rows


def _validity(positions: np.ndarray, atoms: np.ndarray, reference: Reference) -> Validity:
    return check_validity(
        positions,
        reference.positions[:, atoms],
        reference.topology.subset(atoms),
        stereocentres(reference.topology, atoms),
    )


def score(samples: Samples, reference: Reference, seed: int = 0) -> dict:
    """Judge an ensemble.

    Parameters
    ----------
    samples : Samples
        At least two finite samples; those that are not finite are counted and left out.
    reference : Reference
        Its held-out runs are scored against, the others give the floor.
    seed : int
        Of the bootstrap and of random thinning; the result is a function of it.

    Returns
    -------
    dict
        JSON-safe: ``metrics`` (name, value, floor, excess, 95 % interval, unit, sizes and
        definition of each score, on all finite samples), ``metrics_valid`` (the same on valid
        samples if some are not), ``observables``, ``validity``, ``geometry``, ``statistics``.

        The interval is the score plus and minus 1.96 standard deviations of a block bootstrap of
        both sides. It is centred on the score, which like the floor is biased upwards by finite
        samples: compare it with the floor, not with zero.

    Raises
    ------
    MolflowError
        If fewer than two samples are finite or the reference has fewer than two positions.
    """
    split = split_reference(reference)
    term_list = terms(reference.topology.subset(samples.atoms))
    if len(split.scored.positions) < 2:
        raise MolflowError(
            f"the reference of '{reference.system}' has {len(split.scored.positions)} positions in "
            "the runs that are scored against, at least 2 are needed: make it with more frames."
        )
    validity = _validity(samples.positions, samples.atoms, split.scored)
    if validity.finite.sum() < 2:
        raise MolflowError(
            f"the ensemble has {int(validity.finite.sum())} finite samples of "
            f"{len(validity.finite)}: at least 2 are needed."
        )
    finite = samples.take(validity.finite)
    inefficiency = torsion_inefficiency(reference.torsions, reference.replica)
    rng = np.random.default_rng(seed)
    metrics = _score_part(finite, split, term_list, inefficiency, rng, intervals=True)
    some_invalid = not validity.valid[validity.finite].all() and validity.valid.sum() > 1
    metrics_valid = None
    if some_invalid:
        sound = samples.take(validity.valid)
        metrics_valid = _score_part(sound, split, term_list, inefficiency, rng, intervals=False)
    truth = split.scored.positions[:, samples.atoms]
    control = _validity(truth, samples.atoms, split.scored)
    table = term_table(term_list, measure(finite.positions, term_list), measure(truth, term_list))
    return {
        "n": len(samples.torsions),
        "n_finite": int(validity.finite.sum()),
        "n_valid": int(validity.valid.sum()),
        "metrics": metrics,
        "metrics_valid": metrics_valid,
        "observables": observables(
            finite.torsions, finite.energies, split.scored, inefficiency, rng
        ),
        "validity": validity.counts(),
        "validity_reference": control.counts(),
        "geometry": table,
        "floor": split.sentence,
        "statistics": {
            "reference_inefficiency_frames": inefficiency,
            "reference_decorrelation_ps": inefficiency * reference.frame_interval_ps,
            "reference_frames": len(split.scored.torsions),
            "reference_effective": len(split.scored.torsions) / inefficiency,
            "model_effective": len(finite.torsions) / torsion_inefficiency(finite.torsions),
            "seed": seed,
        },
    }

