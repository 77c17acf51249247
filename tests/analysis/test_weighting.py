"""Weights: formulas against repetition and closed forms; tails and files."""

import numpy as np
import pytest
from scipy.stats import genpareto
from synthetic import torsion_samples

from molflow.analysis import weighting
from molflow.analysis.files.weight_files import read_log_weights
from molflow.analysis.metrics.entry import Metric
from molflow.analysis.metrics.registry import METRICS, metric
from molflow.analysis.pareto_tail import pareto_k, pareto_shape
from molflow.analysis.scorecard import Side
from molflow.analysis.statistics import (
    bootstrap_sd,
    influence,
    resample,
    share_of,
    statistical_inefficiency,
    torsion_inefficiency,
)
from molflow.analysis.torsion_metrics import delta_f_alpha_l
from molflow.errors import MolflowError


def values_of(kind: str, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "backbone":
        shares = 0.05 + 0.05 * seed, 0.2
        return np.stack([torsion_samples(n, s, seed + k) for k, s in enumerate(shares)], axis=1)
    return {
        "torsions": rng.vonmises(0.3 * seed, 2.0, size=(n, 3)),
        "tics": rng.normal(0.1 * seed, 1, size=(n, 2)),
        "pcs": rng.normal(0.1 * seed, 1, size=(n, 2)),
        "energies": rng.normal(0.2 * seed, 3, size=n),
        "passed": rng.random(n) < 0.9,
    }.get(kind, rng.normal(1.0, 0.1 + 0.02 * seed, size=(n, 4)))


#: Of the entries that take weights, the only one that draws at random even from few samples.
DRAWN = {"torus_w2_debiased"}
WEIGHTED = [name for name, entry in METRICS.items() if entry.weighted and name not in DRAWN]


def test_what_takes_no_weights():
    without = {name for name, entry in METRICS.items() if not entry.weighted}
    assert without == {
        "relaxation_error", "kish_ess", "kish_ess_clipped", "largest_weight", "pareto_k",
    }  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTED)
def test_whole_weights_are_repeated_samples(name):
    entry, rng = metric(name), np.random.default_rng(7)
    model, reference = values_of(entry.data, 220, 1), values_of(entry.data, 260, 2)
    times = [rng.integers(0, 4, len(x)) for x in (model, reference)]
    repeated = [np.repeat(x, k, axis=0) for x, k in zip((model, reference), times, strict=True)]
    found = entry(model, reference, 0, *times)
    # Quantiles of weighted samples are not interpolated: equal weights ask for the same.
    equal = [np.ones(len(x)) for x in repeated]
    assert found == pytest.approx(entry(*repeated, 0, *equal), rel=1e-9, abs=1e-12)
    assert entry(model, repeated[1], 0, times[0]) == pytest.approx(
        entry(*repeated), rel=1e-9, abs=1e-12
    )
    assert found != pytest.approx(entry(model, reference), rel=1e-3)


def test_random_halves_by_weight_see_what_repetition_would():
    entry, rng = metric("torus_w2_debiased"), np.random.default_rng(3)
    model = values_of("backbone", 1500, 1)[:, :1]
    left = (model[:, 0, 0] > 0) & (model[:, 0, 0] < 2)
    weights = np.where(left, 6.0, 1.0)
    other = values_of("backbone", 1500, 2)[:, :1]
    found = entry(model, other, 0, weights)
    drawn = model[rng.choice(1500, 1500, p=weights / weights.sum())]
    assert found == pytest.approx(entry(drawn, other), rel=0.25)
    assert found > 1.5 * entry(model, other)


def test_a_metric_of_another_package_that_knows_no_weights_says_so():
    foreign = Metric("mine", "Mine", "energies", "kT", "d.", "s", lambda a, b, _: a.sum() - b.sum())
    assert not foreign.weighted and foreign(np.ones(3), np.ones(2)) == 1.0
    with pytest.raises(MolflowError, match="mine does not take weights"):
        foreign(np.ones(3), np.ones(2), 0, np.ones(3))


def test_quantiles_and_moments():
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=50), rng.integers(0, 5, 50)
    again, w = np.repeat(x, k), k / k.sum()
    for level in (0.0, 0.1, 0.5, 0.999, 1.0):
        exact = np.quantile(again, level, method="inverted_cdf")
        if level > 0:
            assert weighting.quantile(x, level, w) == exact
    assert weighting.mean(x, w) == pytest.approx(again.mean(), rel=1e-12)
    assert weighting.sd(x, w) == pytest.approx(again.std(), rel=1e-12)


def test_effective_size_of_normal_log_weights():
    # E[w]² / E[w²] = exp(-s²) for ln w ~ N(0, s²).
    logs = np.random.default_rng(1).normal(scale=0.8, size=400_000)
    share = weighting.effective_size(len(logs), weighting.normalised(logs)) / len(logs)
    assert share == pytest.approx(np.exp(-0.64), rel=0.02)
    assert weighting.effective_size(7, None) == 7
    # And k equal weights among zeros are worth k.
    some = np.where(np.arange(10) < 4, 0.0, -np.inf)
    assert weighting.effective_size(10, weighting.normalised(some)) == pytest.approx(4)


def test_systematic_draws_keep_shares_to_one():
    rng = np.random.default_rng(5)
    w = rng.exponential(size=300)
    w /= w.sum()
    drawn = weighting.systematic(w, 200, rng.random())
    counts = np.bincount(drawn, minlength=300)
    assert np.all(np.abs(counts - 200 * w) < 1) and np.all(np.diff(drawn) >= 0)
    # Unbiased: the mean over offsets is n w.
    offsets = (np.arange(2000) + 0.5) / 2000
    mean = np.mean([np.bincount(weighting.systematic(w, 50, u), minlength=300) for u in offsets], 0)
    assert mean == pytest.approx(50 * w, abs=1.1e-3)


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.6, 1.1])
def test_pareto_shape_is_that_of_the_law_and_of_maximum_likelihood(shape):
    x = genpareto.rvs(shape, scale=2.0, size=3000, random_state=np.random.default_rng(2))
    found = pareto_shape(x)
    assert found == pytest.approx(shape, abs=0.08)
    assert found == pytest.approx(genpareto.fit(x, floc=0)[0], abs=0.02)


def test_tail_index_of_weights():
    # Weights of a Pareto law x^(-1/k): any tail above a cut-off has the same shape.
    rng = np.random.default_rng(8)
    for shape in (0.3, 0.7, 1.2):
        logs = shape * rng.exponential(size=40_000)
        size = np.ceil(3 * np.sqrt(40_000))
        exact = (size * shape + 5) / (size + 10)
        assert pareto_k(logs + 100.0) == pytest.approx(exact, abs=0.13)
    assert pareto_k(np.log(rng.random(10_000))) < 0.1  # bounded weights
    assert pareto_k(np.zeros(1000)) == -np.inf
    assert pareto_k(np.zeros(10)) is None


@pytest.mark.parametrize("zero", [0.5, 0.93, 0.97])
def test_tail_index_of_weights_of_which_most_are_zero(zero):
    """Zeros make no tail: the shape is that of the weights that are not, as if alone."""
    rng = np.random.default_rng(9)
    logs = 0.6 * rng.exponential(size=40_000)
    logs[: int(zero * len(logs))] = -np.inf
    assert 0.3 < pareto_k(logs) < 0.9
    # Equal weights at the foot of the tail have no excess over it.
    bounded = np.log(np.maximum(rng.random(10_000), 0.98))
    assert pareto_k(bounded) < 0.2
    assert pareto_k(np.where(np.arange(1000) < 3, 0.0, -np.inf)) is None


def test_shares_of_weighted_chains_have_their_error():
    """A two-state chain sampled at even odds and weighted to 5 %: error over many runs."""
    rng, length, stay = np.random.default_rng(4), 2000, 0.95
    inside = 0.05 / 0.95
    values, errors = [], []
    for _ in range(300):
        flips = rng.random(length) > stay
        marks = (np.cumsum(flips) + rng.integers(2)) % 2 == 0
        w = np.where(marks, inside, 1.0)
        found = share_of(marks, weights=w / w.sum())
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(values) == pytest.approx(0.05, abs=0.002)
    assert np.median(errors) == pytest.approx(np.std(values), rel=0.15)


def test_none_of_the_weight_is_not_none_for_certain():
    w = np.full(50, 0.02)
    assert share_of(np.zeros(50, bool), weights=w).error == pytest.approx(
        share_of(np.zeros(50, bool)).error
    )


def test_inefficiency_of_equal_weights_is_the_plain_one():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(4000, 1)), axis=0) % (2 * np.pi) - np.pi
    equal = np.full(4000, 1 / 4000)
    found = torsion_inefficiency(x, weights=equal)
    assert found == pytest.approx(torsion_inefficiency(x), rel=1e-6)
    # Independent weights on correlated frames: part of the error is as of independent samples.
    free = rng.exponential(size=4000) ** 2
    assert 1 < torsion_inefficiency(x, weights=free / free.sum()) < 0.8 * found


def weighted_sample(rng, n):
    """Draw phi evenly with exact weights of a law with P(0 < phi < 2) = 0.04."""
    phi = rng.uniform(-np.pi, np.pi, n)
    inside = (phi > 0) & (phi < 2)
    density = np.where(inside, 0.04 / 2.0, 0.96 / (2 * np.pi - 2.0))
    return np.stack([phi, np.zeros(n)], axis=1), density / density.sum()


def test_bootstrap_of_weighted_blocks_covers_the_known_free_energy():
    exact, rng, hits, spread = np.log(0.96 / 0.04), np.random.default_rng(6), 0, []
    for _ in range(150):
        torsions, w = weighted_sample(rng, 400)
        torsions, w = np.repeat(torsions, 5, axis=0), np.repeat(w, 5) / 5  # blocks of five

        def again(torsions=torsions, w=w):
            rows = resample(np.zeros(2000, int), 10, rng)
            return delta_f_alpha_l(torsions[rows], 0.5, weighting.part_of(w, rows))

        value, sd = delta_f_alpha_l(torsions, 0.5, w), bootstrap_sd(again, 60)
        hits += abs(value - exact) < 1.96 * sd
        spread.append(value - exact)
    assert 0.88 <= hits / 150 <= 0.99
    assert abs(np.mean(spread)) < 3 * np.std(spread) / np.sqrt(150)


def test_draws_without_any_weight_are_drawn_anew():
    """Weights in a tenth of a run: many draws of four blocks miss it."""
    rng, weights = np.random.default_rng(0), np.zeros(1000)
    weights[:100] = 0.01
    assert any(not weights[resample(np.zeros(1000, int), 250, rng)].any() for _ in range(50))
    side = Side(np.arange(1000.0), np.zeros(1000, int), 250, weights)
    for drawn in [side.again(rng) for _ in range(50)] + [side.draw(5, rng) for _ in range(50)]:
        assert drawn.weights.sum() == pytest.approx(1.0)
        assert drawn.values[drawn.weights > 0].max() < 100
    assert len(side.again(rng).values) == 1000 and len(side.draw(5, rng).values) == 5


def test_an_empty_weighted_side_is_bounded_at_the_effective_size():
    torsions = np.full((100, 2), -1.0)
    w = np.full(100, 0.01)
    equal = delta_f_alpha_l(torsions, 0.5)
    assert delta_f_alpha_l(torsions, 0.5, w) == pytest.approx(equal, abs=0.01)
    assert delta_f_alpha_l(torsions, 0.0, w) == np.inf
    # A side that is seen has its weight, however small.
    torsions[0, 0], w = 1.0, np.append(1e-9, np.full(99, (1 - 1e-9) / 99))
    assert delta_f_alpha_l(torsions, 0.5, w) == pytest.approx(-np.log(1e-9), rel=1e-6)


def test_weights_are_read_from_every_kind_of_file(tmp_path):
    w = np.array([1.0, 2.0, 0.0, 5.0])
    np.savez(tmp_path / "a.npz", log_weights=np.log(np.maximum(w, 1e-300)))
    np.savez(tmp_path / "b.npz", weights=w)
    np.save(tmp_path / "c.npy", w)
    (tmp_path / "d.txt").write_text("# weights\n1\n2\n0\n5\n")
    for source in ("a.npz", "b.npz", "c.npy", "d.txt"):
        found = read_log_weights(tmp_path / source, 4, "the ensemble")
        assert weighting.normalised(found) == pytest.approx(w / 8)
    assert weighting.normalised(read_log_weights(w, 4, "it")) == pytest.approx(w / 8)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones(5), r"shape \(5,\), and it has 4"),
        (np.array([1.0, -2.0, 1.0, 1.0]), "1 negative weights of the ensemble, the first -2"),
        (np.array([1.0, np.nan, 1.0, 1.0]), "not finite, the first that of conformation 1"),
        (np.array([1.0, np.inf, 1.0, 1.0]), "not finite"),
        (np.zeros(4), "all weights of the ensemble are zero"),
        (np.array([0.0, 0.0, 1.0, 1e-9]), "nearly all the weight of the ensemble is in conf"),
        (np.array(["a", "b", "c", "d"]), "not real numbers"),
    ],
)
def test_weights_that_cannot_be_are_told(weights, sentence):
    with pytest.raises(MolflowError, match=sentence):
        read_log_weights(weights, 4, "the ensemble")


def test_files_that_cannot_be_are_told(tmp_path):
    np.savez(tmp_path / "other.npz", energies=np.ones(4))
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    (tmp_path / "empty.txt").write_text("")
    for name, sentence in (
        ("other.npz", "holds energies: weights"), ("words.txt", "does not hold one weight"),
        ("missing.npy", "cannot read the weights"), ("missing.npz", "no file"),
        ("weights.xls", r"\.npz file with log_weights"), ("empty.txt", r"shape \(0,\)"),
    ):  # fmt: skip
        with pytest.raises(MolflowError, match=sentence):
            read_log_weights(tmp_path / name, 4, "the ensemble")


def test_statistical_inefficiency_of_the_influence_is_that_of_the_chain():
    """Weights that follow the state have the chain's own correlation."""
    rng = np.random.default_rng(2)
    marks = (np.cumsum(rng.random(20_000) > 0.9) % 2).astype(float)
    w = np.where(marks > 0, 0.1, 1.0)
    found = statistical_inefficiency(influence(marks, w / w.sum()))
    assert found == pytest.approx(statistical_inefficiency(marks), rel=0.02)
    assert found == pytest.approx((1 + 0.8) / (1 - 0.8), rel=0.25)
