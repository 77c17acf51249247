"""All scores of an ensemble, each beside its floor, excess, interval and sample sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.features import Features
from molflow.analysis.floor import split_reference
from molflow.analysis.kinetics.frame_times import FrameTimes
from molflow.analysis.kinetics.order_in_time import order_in_time
from molflow.analysis.kinetics.principal_components import (
    PrincipalComponents,
    fit_principal_components,
)
from molflow.analysis.kinetics.slow_coordinates import SlowCoordinates, fit_slow_coordinates
from molflow.analysis.metrics import registry
from molflow.analysis.metrics.entry import Metric
from molflow.analysis.metrics.registry import metrics_of
from molflow.analysis.molecule.geometry import measure, term_table
from molflow.analysis.molecule.validity import check_validity
from molflow.analysis.observables import observables
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples
from molflow.analysis.statistics import (
    block_length,
    bootstrap_sd,
    few_blocks,
    resample,
    torsion_inefficiency,
)
from molflow.analysis.weight_report import weights_of_both
from molflow.analysis.weighting import effective_size, part_of
from molflow.errors import MolflowError

#: Kinds of data that are scored, in the order of the table.
_KINDS = ("backbone", "tics", "pcs", "torsions", "energies", "bond", "angle", "improper")
#: Bootstrap repeats and draws of the floor: quick scores, geometry, optimal transport.
_REPEATS = {"quick": 100, "terms": 20, "slow": 8}
_DRAWS = {"quick": 10, "terms": 3, "slow": 2}
#: Resampled values (samples times torsions times repeats) at which repeats become fewer.
_BUDGET, _LEAST_REPEATS = 12_000_000, 20
#: Why nothing that hangs on the order in time is said of weighted frames.
_NO_TIME = (
    "Weighted frames come from other dynamics than the molecule's, or from none: what they do in "
    "time is not what it does."
)

Modes = SlowCoordinates | PrincipalComponents | None


@dataclass(frozen=True)
class Side:
    """One kind of data of one side.

    Values (n, ...), run labels (n,), frames per block, weights (n,) or None for equal ones, and
    consecutive values that are worth one independent value.
    """

    values: np.ndarray
    runs: np.ndarray
    block: int
    weights: np.ndarray | None = None
    inefficiency: float = 1.0

    @property
    def effective(self) -> float:
        """How many equally weighted values these are worth."""
        return effective_size(len(self.values), self.weights)

    @property
    def independent(self) -> float:
        """How many independent values of equal weight these are worth."""
        return self.effective / self.inefficiency

    def again(self, rng: np.random.Generator) -> Side:
        """Return values and weights resampled by blocks."""
        return self._weighty(lambda: resample(self.runs, self.block, rng))

    def draw(self, size: int, rng: np.random.Generator) -> Side:
        """Return at most `size` values with their weights, drawn without replacement."""
        if size >= len(self.values):
            return self
        return self._weighty(lambda: np.sort(rng.choice(len(self.values), size, replace=False)))

    def _weighty(self, rows_of: Callable[[], np.ndarray]) -> Side:
        """Return what is drawn; rows without any weight say nothing and are drawn anew."""
        rows = rows_of()
        while self.weights is not None and not self.weights[rows].any():
            rows = rows_of()
        return self._of(rows)

    def _of(self, rows: np.ndarray) -> Side:
        kept = part_of(self.weights, rows)
        return Side(self.values[rows], self.runs[rows], self.block, kept, self.inefficiency)


def _floor_size(model: Side, side: Side) -> int:
    """Return how many values of the floor's model side are worth as many as the model's.

    They are drawn at random, so that they are about independent; so the correlated frames of a
    trajectory are worth fewer of them.
    """
    worth = side.effective / len(side.values)
    return int(np.clip(round(model.independent / worth), 2, len(side.values)))


def _by_kind(
    features: Features,
    modes: Modes,
    torsions: Side,
    energies: Side | None,
    terms: Side,
) -> dict[str, Side]:
    sides = {}
    if len(features.pairs):
        pairs = torsions.values[:, features.pairs.ravel()].reshape(len(torsions.values), -1, 2)
        sides["backbone"] = replace(torsions, values=pairs)
    if features.torsions:
        sides["torsions"] = torsions
    if modes is not None:
        kind = "tics" if isinstance(modes, SlowCoordinates) else "pcs"
        sides[kind] = replace(torsions, values=modes.transform(torsions.values))
    if energies is not None:
        sides["energies"] = energies
    kinds = np.array([term.kind for term in features.terms])
    for kind in ("bond", "angle", "improper"):
        columns = np.flatnonzero(kinds == kind)
        if len(columns):
            sides[kind] = replace(terms, values=terms.values[:, columns])
    return {kind: side for kind, side in sides.items() if len(side.values) > 1}


def _reference_sides(
    reference: Reference, features: Features, modes: Modes, inefficiency: float
) -> dict[str, Side]:
    longest = int(np.bincount(reference.replica - reference.replica.min()).max())
    block = block_length(inefficiency, longest)
    stride = len(reference.torsions) / max(1, len(reference.positions))
    runs, weights = reference.replica, reference.weights
    energies = None
    if reference.energies is not None and reference.temperature is not None:
        reduced = reduced_energies(reference.energies, reference.temperature)
        energies = Side(reduced, runs, block, weights)
    return _by_kind(
        features, modes,
        Side(reference.torsions[:, features.columns], runs, block, weights),
        energies,
        # Thinned frames: the same block in time.
        Side(
            measure(reference.positions[:, features.atoms], features.terms),
            runs[reference.position_frame], max(1, round(block / stride)),
            reference.position_weights,
        ),
    )  # fmt: skip


def _model_sides(
    samples: Samples, modes: Modes, temperature: float | None
) -> dict[str, Side]:
    features, weights = samples.features, samples.weights
    inefficiency = _inefficiency(samples)
    block = block_length(inefficiency, len(samples))
    correlated = inefficiency if block > 1 else 1.0
    zeros = np.zeros(len(samples), int)
    energies = None
    if samples.energies is not None and temperature is not None:
        reduced = reduced_energies(samples.energies, temperature)
        finite = np.isfinite(reduced)
        energies = Side(reduced[finite], zeros[finite], block, part_of(weights, finite))
    thinned = max(1, round(block * len(samples.terms) / max(1, len(samples))))
    return _by_kind(
        features, modes, Side(samples.torsions, zeros, block, weights, correlated), energies,
        Side(samples.terms, zeros[samples.term_sample], thinned, samples.term_weights),
    )  # fmt: skip


def _inefficiency(samples: Samples) -> float:
    phi = [int(i) for i in samples.features.pairs[:, 0]]
    return torsion_inefficiency(samples.torsions, phi=phi, weights=samples.weights)


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
    size = _floor_size(model, floors[0][0])
    for slow in (False, True):
        group = [metric for metric in metrics if metric.slow == slow]
        if not group:
            continue
        draws, repeats = _repeats(kind, slow, model, scored)

        def all_scores(a: Side, b: Side, group: list[Metric] = group) -> np.ndarray:
            sides = a.values, b.values, rng, a.weights, b.weights
            return np.array([metric.of(*sides) for metric in group])

        # A slow score thins at random, so it is the mean of a few draws on both sides alike.
        times = draws if slow else 1
        values = np.mean([all_scores(model, scored) for _ in range(times)], axis=0)
        drawn = slow or len(floors) > 1 or size < len(floors[0][0].values)
        pairs = [floors[k % len(floors)] for k in range(max(draws, len(floors)) if drawn else 1)]
        floor = np.mean([all_scores(a.draw(size, rng), b) for a, b in pairs], axis=0)
        sd = np.full(len(group), np.nan)
        if intervals:
            again = partial(_scores_again, all_scores, model, scored, rng)
            few = max(few_blocks(len(side.values), side.block) for side in (model, scored))
            sd = few * bootstrap_sd(again, repeats)
        sizes = {
            "n_model": len(model.values),
            "n_reference": len(scored.values),
            "floor_n_model": size,
            "floor_n_reference": len(floors[0][1].values),
        } | _effective_sizes(model, scored, floors[0], size)
        for metric, value, lowest, spread in zip(group, values, floor, sd, strict=True):
            rows[metric.name] = _row(metric, value, lowest, spread, intervals, sizes)
    return {metric.name: rows[metric.name] for metric in metrics}


def _floor_effective(
    independent: float, floor: tuple[dict[str, Side], ...], inefficiency: float
) -> dict[str, float] | None:
    """Return how many independent values each side of the floor of torsions is worth.

    Values that are drawn at random from a longer series have the error of as many independent
    ones and that of the whole series.
    """
    if not all("torsions" in side for side in floor):
        return None
    first, second = (side["torsions"] for side in floor)
    share = min(1.0, independent / first.effective)
    squared = (1 - share) / (share * first.effective) + inefficiency / first.effective
    return {"model": 1 / squared, "reference": second.effective / inefficiency}


def _scores_again(
    scores: Callable[[Side, Side], np.ndarray], model: Side, scored: Side, rng: np.random.Generator
) -> np.ndarray:
    """Return the scores of both sides drawn anew."""
    return scores(model.again(rng), scored.again(rng))


def _effective_sizes(model: Side, scored: Side, floor: tuple[Side, Side], size: int) -> dict:
    """Return what weighted values are worth; nothing if none is weighted."""
    if model.weights is None and scored.weights is None:
        return {}
    first, second = floor
    return {
        "n_model_effective": model.effective,
        "n_reference_effective": scored.effective,
        "floor_n_model_effective": size * first.effective / len(first.values),
        "floor_n_reference_effective": second.effective,
    }


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
    times: FrameTimes | None = None,
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
    times : FrameTimes, optional
        Of samples that are frames of a trajectory, whose order in time is judged then.

    Returns
    -------
    dict
        JSON-safe: ``metrics`` (name, value, floor, excess, 95 % interval, unit, sizes, definition
        and source of each score, on all finite samples), ``metrics_valid`` (the same on valid
        samples if some are not), ``observables``, ``validity``, ``geometry``, ``statistics``. If
        one of the sides is weighted also ``weights`` (see `molflow.analysis.weight_report`),
        effective sizes in every row, shares of the weight in ``validity`` and ``not_scored``, a
        sentence for each metric that does not take weights or has no meaning with them.

        The interval is the score plus and minus 1.96 standard deviations of a block bootstrap of
        both sides, wider where correlated frames make few blocks. It is centred on the score,
        which like the floor is biased upwards by finite samples: compare it with the floor, not
        with zero.

    Raises
    ------
    MolflowError
        If fewer than two samples are finite or the reference has fewer than two positions.
    """
    features, validity = samples.features, samples.validity
    rng = np.random.default_rng(seed)
    phi = [int(i) for i in features.pairs[:, 0]]
    all_torsions = reference.torsions[:, features.columns]
    inefficiency = torsion_inefficiency(
        all_torsions, reference.replica, phi, reference.weights
    )
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
        modes = _fit_modes(reference, all_torsions)
    scored = _reference_sides(split.scored, features, modes, inefficiency)
    floors = [
        tuple(_reference_sides(part, features, modes, inefficiency) for part in pair)
        for pair in split.floors
    ]

    not_scored = {}

    def table(part: Samples, intervals: bool) -> dict[str, dict]:
        model = _model_sides(part, modes, reference.temperature)
        rows: dict[str, dict] = {}
        for kind in _KINDS:
            sides = [model, scored, *(side for pair in floors for side in pair)]
            if all(kind in side for side in sides):
                metrics = metrics_of(kind, slow=exact_transport)
                if any(side[kind].weights is not None for side in (model, scored)):
                    unfit = [metric.name for metric in metrics if not metric.weighted]
                    not_scored.update(dict.fromkeys(unfit, "It does not take weights."))
                    metrics = [metric for metric in metrics if metric.weighted]
                if not metrics:
                    continue
                pairs = [(a[kind], b[kind]) for a, b in floors]
                rows |= rows_of(metrics, kind, model[kind], scored[kind], pairs, rng, intervals)
        return rows

    finite = samples.part(validity.finite)
    some_weights = samples.weights is not None or reference.weights is not None
    metrics = table(finite, True)
    if exact_transport and reference.weights is not None:
        not_scored["tica_w2"] = _NO_TIME
    some_invalid = not validity.valid[validity.finite].all() and validity.valid.sum() > 1
    metrics_valid = table(samples.part(validity.valid), False) if some_invalid else None
    plain = observables(finite, split.scored, inefficiency, rng)
    if times is not None:
        plain["times"] = {"said": times.said, "back": times.back, "shuffled": times.shuffled}
    if times is not None and some_weights:
        plain["relaxation"] = None
        not_scored["relaxation_error"] = _NO_TIME
    elif times is not None:
        plain["relaxation"] = None
        found = None
        if not times.shuffled:
            runs = times.runs[validity.finite]
            found = order_in_time(
                finite.torsions, features.columns, runs, reference, split.scored, times.interval_ps
            )
        if found is not None:
            plain["relaxation"], numbers = found
            sizes = {
                "n_model": len(finite),
                "n_reference": len(split.scored.torsions),
                "floor_n_model": len(finite),
                "floor_n_reference": len(split.scored.torsions),
            }
            entry = registry.metric("relaxation_error")
            metrics[entry.name] = _row(
                entry, numbers["value"], numbers["floor"], numbers["sd"], True, sizes
            )
    truth = split.scored.positions[:, features.atoms]
    n_effective = _inefficiency(finite)
    worth = effective_size(len(finite), finite.weights)
    interval = reference.frame_interval_ps
    return {
        "n": len(samples),
        "n_finite": int(validity.finite.sum()),
        "n_valid": int(validity.valid.sum()),
        "metrics": metrics,
        "metrics_valid": metrics_valid,
        "observables": plain,
        "validity": validity.counts(samples.weights),
        "validity_reference": check_validity(truth, features.limits).counts(
            split.scored.position_weights
        ),
        "geometry": term_table(
            features.terms, finite.terms, measure(truth, features.terms), finite.term_weights,
            split.scored.position_weights,
        ),
        "floor": split.sentence,
        "statistics": {
            "reference_inefficiency_frames": inefficiency,
            "reference_decorrelation_ps": None if interval is None else inefficiency * interval,
            "reference_frames": len(split.scored.torsions),
            "reference_effective": effective_size(len(split.scored.torsions), split.scored.weights)
            / inefficiency,
            "model_effective": worth / n_effective,
            "floor_effective": _floor_effective(worth / n_effective, floors[0], inefficiency),
            "geometry_model": len(finite.terms),
            "geometry_reference": len(truth),
            "seed": seed,
        },
    } | (
        {"weights": weights_of_both(finite, split.scored), "not_scored": not_scored}
        if some_weights
        else {}
    )


def _fit_modes(reference: Reference, torsions: np.ndarray) -> Modes:
    if reference.weights is not None:
        return fit_principal_components(torsions, reference.weights)
    return fit_slow_coordinates(torsions, reference.replica, reference.frame_interval_ps)
