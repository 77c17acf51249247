"""All scores of an ensemble, each beside its floor, excess, interval and sample sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.features import Features
from molflow.analysis.floor import split_reference
from molflow.analysis.geometry import measure, term_table
from molflow.analysis.metrics import registry
from molflow.analysis.metrics.entry import Metric
from molflow.analysis.metrics.registry import metrics_of
from molflow.analysis.observables import observables
from molflow.analysis.order_in_time import order_in_time
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples
from molflow.analysis.slow_coordinates import SlowCoordinates, fit_slow_coordinates
from molflow.analysis.statistics import (
    block_length,
    bootstrap_sd,
    resample,
    torsion_inefficiency,
)
from molflow.analysis.validity import check_validity
from molflow.errors import MolflowError

#: Kinds of data that are scored, in the order of the table.
_KINDS = ("backbone", "tics", "torsions", "energies", "bond", "angle", "improper")
#: Bootstrap repeats and draws of the floor: quick scores, geometry, optimal transport.
_REPEATS = {"quick": 100, "terms": 20, "slow": 8}
_DRAWS = {"quick": 10, "terms": 3, "slow": 2}
#: Resampled values (samples times torsions times repeats) at which repeats become fewer.
_BUDGET, _LEAST_REPEATS = 12_000_000, 20


@dataclass(frozen=True)
class Side:
    """One kind of data of one side: values (n, ...), run labels (n,), frames per block."""

    values: np.ndarray
    runs: np.ndarray
    block: int

    def again(self, rng: np.random.Generator) -> np.ndarray:
        """Return the values resampled by blocks."""
        return self.values[resample(self.runs, self.block, rng)]

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return at most `size` values, drawn without replacement."""
        if size >= len(self.values):
            return self.values
        return self.values[np.sort(rng.choice(len(self.values), size, replace=False))]


def _by_kind(
    features: Features,
    modes: SlowCoordinates | None,
    torsions: Side,
    energies: Side | None,
    terms: Side,
) -> dict[str, Side]:
    sides = {}
    if len(features.pairs):
        pairs = torsions.values[:, features.pairs.ravel()].reshape(len(torsions.values), -1, 2)
        sides["backbone"] = Side(pairs, torsions.runs, torsions.block)
    if features.torsions:
        sides["torsions"] = torsions
    if modes is not None:
        sides["tics"] = Side(modes.transform(torsions.values), torsions.runs, torsions.block)
    if energies is not None:
        sides["energies"] = energies
    kinds = np.array([term.kind for term in features.terms])
    for kind in ("bond", "angle", "improper"):
        columns = np.flatnonzero(kinds == kind)
        if len(columns):
            sides[kind] = Side(terms.values[:, columns], terms.runs, terms.block)
    return {kind: side for kind, side in sides.items() if len(side.values) > 1}


def _reference_sides(
    reference: Reference, features: Features, modes: SlowCoordinates | None, inefficiency: float
) -> dict[str, Side]:
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    block = block_length(inefficiency, longest)
    stride = len(reference.torsions) / max(1, len(reference.positions))
    runs = reference.replica
    energies = None
    if reference.energies is not None and reference.temperature is not None:
        energies = Side(reduced_energies(reference.energies, reference.temperature), runs, block)
    return _by_kind(
        features, modes,
        Side(reference.torsions[:, features.columns], runs, block),
        energies,
        # Thinned frames: the same block in time.
        Side(
            measure(reference.positions[:, features.atoms], features.terms),
            runs[reference.position_frame], max(1, round(block / stride)),
        ),
    )  # fmt: skip


def _model_sides(
    samples: Samples, modes: SlowCoordinates | None, temperature: float | None
) -> dict[str, Side]:
    features = samples.features
    phi = [int(i) for i in features.pairs[:, 0]]
    block = block_length(torsion_inefficiency(samples.torsions, phi=phi), len(samples))
    zeros = np.zeros(len(samples), int)
    energies = None
    if samples.energies is not None and temperature is not None:
        reduced = reduced_energies(samples.energies, temperature)
        finite = np.isfinite(reduced)
        energies = Side(reduced[finite], zeros[finite], block)
    thinned = max(1, round(block * len(samples.terms) / max(1, len(samples))))
    return _by_kind(
        features, modes, Side(samples.torsions, zeros, block), energies,
        Side(samples.terms, zeros[samples.term_sample], thinned),
    )  # fmt: skip


def _repeats(kind: str, slow: bool, model: Side, scored: Side) -> tuple[int, int]:
    pace = "slow" if slow else "terms" if kind in ("bond", "angle", "improper") else "quick"
    if pace != "quick":
        return _DRAWS[pace], _REPEATS[pace]
    columns = int(np.prod(model.values.shape[1:]))
    affordable = _BUDGET // (columns * (len(model.values) + len(scored.values)))
    return _DRAWS[pace], int(np.clip(affordable, _LEAST_REPEATS, _REPEATS[pace]))


def rows_of(
    metrics: list[Metric], kind: str, model: Side, scored: Side, floors: list[tuple[Side, Side]],
    rng: np.random.Generator, intervals: bool = True,
) -> dict[str, dict]:  # fmt: skip
    """Score one kind of data by some metrics, each beside its floor and interval.

    Parameters
    ----------
    metrics : list of Metric
        All of this kind.
    kind : str
    model, scored : Side
        What is judged, and by what.
    floors : list of pair of Side
        Disjoint parts of the reference; the floor is the mean over them.
    rng : numpy.random.Generator
    intervals : bool
        Whether to bootstrap.

    Returns
    -------
    dict of str to dict
        By name of the metric; see `score`.
    """
    rows = {}
    size = min(len(model.values), len(floors[0][0].values))
    for slow in (False, True):
        group = [metric for metric in metrics if metric.slow == slow]
        if not group:
            continue
        draws, repeats = _repeats(kind, slow, model, scored)

        def all_scores(a: np.ndarray, b: np.ndarray, group: list[Metric] = group) -> np.ndarray:
            return np.array([metric.score(a, b, rng) for metric in group])

        # A slow score thins at random, so it is the mean of a few draws on both sides alike.
        times = draws if slow else 1
        values = np.mean([all_scores(model.values, scored.values) for _ in range(times)], axis=0)
        drawn = slow or len(floors) > 1 or size < len(floors[0][0].values)
        pairs = [floors[k % len(floors)] for k in range(max(draws, len(floors)) if drawn else 1)]
        floor = np.mean([all_scores(a.draw(size, rng), b.values) for a, b in pairs], axis=0)
        sd = np.full(len(group), np.nan)
        if intervals:
            sd = bootstrap_sd(
                lambda scores=all_scores: scores(model.again(rng), scored.again(rng)), repeats
            )
        sizes = {
            "n_model": len(model.values),
            "n_reference": len(scored.values),
            "floor_n_model": size,
            "floor_n_reference": len(floors[0][1].values),
        }
        for metric, *numbers in zip(group, values, floor, sd, strict=True):
            rows[metric.name] = _row(metric, *numbers, intervals, sizes)
    return {metric.name: rows[metric.name] for metric in metrics}


def _row(
    metric: Metric, value: float, floor: float, sd: float, intervals: bool, sizes: dict[str, int]
) -> dict:
    low = value - 1.96 * sd
    low = max(0.0, low) if metric.better == "smaller" else low
    return {
        "name": metric.name,
        "title": metric.title,
        "value": _number(value),
        "floor": _number(floor),
        "excess": _number(value - floor),
        "interval": [_number(low), _number(value + 1.96 * sd)] if intervals else None,
        "unit": metric.unit,
        "better": metric.better,
        **sizes,
        "definition": metric.definition,
        "source": metric.source,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def score(
    samples: Samples,
    reference: Reference,
    seed: int = 0,
    exact_transport: bool = True,
    frame_interval_ps: float | None = None,
) -> dict:
    """Judge an ensemble.

    Parameters
    ----------
    samples : Samples
        At least two finite samples; those that are not finite are counted and left out.
    reference : Reference
        Its held-out runs are scored against, the others give the floor.
    seed : int
        Of the bootstrap and of random thinning; the result is a function of it.
    exact_transport : bool
        Whether to compute the scores by exact optimal transport, which take seconds each.
    frame_interval_ps : float, optional
        Time between samples that are frames of a trajectory, whose order in time is judged then.

    Returns
    -------
    dict
        JSON-safe: ``metrics`` (name, value, floor, excess, 95 % interval, unit, sizes, definition
        and source of each score, on all finite samples), ``metrics_valid`` (the same on valid
        samples if some are not), ``observables``, ``validity``, ``geometry``, ``statistics``.

        The interval is the score plus and minus 1.96 standard deviations of a block bootstrap of
        both sides. It is centred on the score, which like the floor is biased upwards by finite
        samples: compare it with the floor, not with zero.

    Raises
    ------
    MolflowError
        If fewer than two samples are finite or the reference has fewer than two positions.
    """
    features, validity = samples.features, samples.validity
    rng = np.random.default_rng(seed)
    phi = [int(i) for i in features.pairs[:, 0]]
    all_torsions = reference.torsions[:, features.columns]
    inefficiency = torsion_inefficiency(all_torsions, reference.replica, phi)
    split = split_reference(
        reference, block_length(inefficiency, len(reference.torsions)), np.random.default_rng(seed)
    )
    if len(split.scored.positions) < 2:
        raise MolflowError(
            f"the reference of '{reference.system}' has {len(split.scored.positions)} positions in "
            "the runs that are scored against, at least 2 are needed: make it with more frames."
        )
    if validity.finite.sum() < 2:
        raise MolflowError(
            f"the ensemble has {int(validity.finite.sum())} finite samples of "
            f"{len(validity.finite)}: at least 2 are needed."
        )
    modes = None
    if exact_transport:  # the only scores of the slow modes are of this kind
        modes = fit_slow_coordinates(all_torsions, reference.replica, reference.frame_interval_ps)
    scored = _reference_sides(split.scored, features, modes, inefficiency)
    floors = [
        tuple(_reference_sides(part, features, modes, inefficiency) for part in pair)
        for pair in split.floors
    ]

    def table(part: Samples, intervals: bool) -> dict[str, dict]:
        model, rows = _model_sides(part, modes, reference.temperature), {}
        for kind in _KINDS:
            sides = [model, scored, *(side for pair in floors for side in pair)]
            if all(kind in side for side in sides):
                metrics = metrics_of(kind, slow=exact_transport)
                pairs = [(a[kind], b[kind]) for a, b in floors]
                rows |= rows_of(metrics, kind, model[kind], scored[kind], pairs, rng, intervals)
        return rows

    finite = samples.part(validity.finite)
    metrics = table(finite, True)
    some_invalid = not validity.valid[validity.finite].all() and validity.valid.sum() > 1
    metrics_valid = table(samples.part(validity.valid), False) if some_invalid else None
    plain = observables(finite, split.scored, inefficiency, rng)
    if frame_interval_ps is not None:
        plain["relaxation"] = None
        found = order_in_time(finite, split, frame_interval_ps, rng)
        if found is not None:
            plain["relaxation"], numbers = found
            sides = split.floors[0]
            sizes = {
                "n_model": len(finite),
                "n_reference": len(split.scored.torsions),
                "floor_n_model": len(sides[0].torsions),
                "floor_n_reference": len(sides[1].torsions),
            }
            entry = registry.metric("relaxation_error")
            metrics[entry.name] = _row(entry, *numbers.values(), True, sizes)
    truth = split.scored.positions[:, features.atoms]
    n_effective = torsion_inefficiency(finite.torsions, phi=phi)
    interval = reference.frame_interval_ps
    return {
        "n": len(samples),
        "n_finite": int(validity.finite.sum()),
        "n_valid": int(validity.valid.sum()),
        "metrics": metrics,
        "metrics_valid": metrics_valid,
        "observables": plain,
        "validity": validity.counts(),
        "validity_reference": check_validity(truth, features.limits).counts(),
        "geometry": term_table(features.terms, finite.terms, measure(truth, features.terms)),
        "floor": split.sentence,
        "statistics": {
            "reference_inefficiency_frames": inefficiency,
            "reference_decorrelation_ps": None if interval is None else inefficiency * interval,
            "reference_frames": len(split.scored.torsions),
            "reference_effective": len(split.scored.torsions) / inefficiency,
            "model_effective": len(finite) / n_effective,
            "geometry_model": len(finite.terms),
            "geometry_reference": len(truth),
            "seed": seed,
        },
    }
