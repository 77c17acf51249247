"""Every entry of the registry: an analytic case and its formula coded once more."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm, vonmises, wasserstein_distance
from synthetic import torsion_samples

from molflow.analysis.metrics import registry
from molflow.analysis.metrics.entry import KINDS
from molflow.errors import MolflowError


@pytest.fixture(scope="module")
def maps():
    """Two residues of unlike populations, (n, 2, 2)."""
    sides = []
    for seed, share in ((1, 0.03), (5, 0.08)):
        sides.append(
            np.stack([torsion_samples(1200, share, seed), torsion_samples(1200, 0.2, seed + 1)], 1)
        )
    return sides


def score(name, model, reference, seed=0):
    return registry.metric(name)(model, reference, seed)


def shares(x, bins):
    return np.histogram2d(x[:, 0], x[:, 1], bins, range=[[-np.pi, np.pi]] * 2)[0] / len(x)


def test_every_entry_is_listed_once_with_all_that_a_reader_needs():
    rows = registry.list_metrics()
    assert [row["name"] for row in rows] == list(registry.METRICS)
    entries = [entry for family in registry._FAMILIES for entry in family.ENTRIES]
    assert len(entries) == len(rows)
    for row in rows:
        assert all(row[key] for key in ("title", "unit", "data", "definition", "source"))
        assert row["better"] in ("smaller", "larger") or np.isfinite(float(row["better"]))
        assert row["definition"].endswith(".") and "\n" not in row["definition"]
    assert {registry.metric(row["name"]).data for row in rows} == set(KINDS)
    with pytest.raises(MolflowError, match="no metric 'jsd'"):
        registry.metric("jsd")


def test_slow_and_unshown_entries_are_left_out_on_request():
    names = [entry.name for entry in registry.metrics_of("backbone", slow=False)]
    assert names[0] == "fes_rmse" and "torus_w2" not in names and "kld_epsilon" not in names
    assert "kld_epsilon" in [e.name for e in registry.metrics_of("backbone", shown=False)]


@pytest.mark.parametrize(
    "name",
    ["fes_rmse", "pmf_error", "js_divergence", "js_distance", "js_divergence_pooled",
     "delta_f_alpha_l_error", "fes_mae_cutoff", "kld_epsilon", "torus_w2_per_residue"],
)  # fmt: skip
def test_of_several_residues_the_mean_is_scored(name, maps):
    a, b = (side[:300] for side in maps)
    alone = [score(name, a[:, [r]], b[:, [r]]) for r in (0, 1)]
    assert score(name, a, b) == pytest.approx(np.mean(alone), rel=1e-12)
    assert alone[0] != pytest.approx(alone[1], rel=1e-3)


def test_fes_mae_cutoff_is_its_formula_and_knows_two_states(maps):
    q, p = (shares(side[:, 0], 50) for side in maps)
    with np.errstate(divide="ignore"):
        f, g = -np.log(p / p.max()), -np.log(q / q.max())
    errors = [abs(min(b, 8.0) - a) for a, b in zip(f.flat, g.flat, strict=True) if a < 5]
    found = score("fes_mae_cutoff", maps[0][:, [0]], maps[1][:, [0]])
    assert found == pytest.approx(np.mean(errors), rel=1e-12)
    states = np.array([[[-1.0, 0.0]], [[1.0, 0.0]]])
    model, truth = np.repeat(states, [25, 75], axis=0), np.repeat(states, [50, 50], axis=0)
    assert score("fes_mae_cutoff", model, truth) == pytest.approx(np.log(3) / 2, rel=1e-12)


def test_kld_epsilon_is_its_formula_and_a_hole_costs_the_constant(maps):
    q, p = (shares(side[:, 0], 64).ravel() for side in maps)
    exact = sum(a * np.log((a + 1e-10) / (b + 1e-10)) for a, b in zip(p, q, strict=True))
    found = score("kld_epsilon", maps[0][:, [0]], maps[1][:, [0]])
    assert found == pytest.approx(exact, rel=1e-12)
    states = np.array([[[-1.0, 0.0]], [[1.0, 0.0]]])
    truth = np.repeat(states, [75, 25], axis=0)
    exact = 0.75 * np.log(0.75) + 0.25 * np.log(0.25 / 1e-10)
    assert score("kld_epsilon", states[:1], truth) == pytest.approx(exact, rel=1e-8)


def test_torsions_one_by_one():
    n = 200_000
    a = vonmises.rvs(2.0, loc=0.5, size=(n, 1), random_state=1)
    b = vonmises.rvs(2.0, loc=0.0, size=(n, 1), random_state=2)
    # Total variation of two densities by quadrature, and of the histograms by numpy.
    difference = lambda x: abs(vonmises.pdf(x, 2, loc=0.5) - vonmises.pdf(x, 2))  # noqa: E731
    exact = 0.5 * quad(difference, -np.pi, np.pi, points=[0.25, 0.25 - np.pi], limit=200)[0]
    found = score("torsion_misplaced_worst", a, b)
    assert found == pytest.approx(exact, abs=0.005)
    bins = [np.histogram(x, 36, (-np.pi, np.pi))[0] / n for x in (a, b)]
    assert found == pytest.approx(0.5 * np.abs(bins[0] - bins[1]).sum(), abs=1e-12)
    both = np.concatenate([a, b], axis=1), np.concatenate([b, b], axis=1)
    assert score("torsion_misplaced_worst", *both) == pytest.approx(found, abs=1e-12)
    bins = [np.histogram(x, 100, (-np.pi, np.pi))[0] for x in (a, b)]
    distance = jensenshannon(*bins)
    assert score("torsion_js_distance", a, b) == pytest.approx(distance, rel=1e-9)
    assert score("torsion_js_distance", *both) == pytest.approx(distance / 2, rel=1e-9)
    apart = np.full((10, 1), -1.0)
    assert score("torsion_js_distance", apart, -apart) == pytest.approx(np.sqrt(np.log(2)))


def test_torus_w2_of_all_angles_together():
    rng = np.random.default_rng(0)
    cloud = rng.normal(scale=0.02, size=(150, 2, 2))
    shift = np.array([[0.3, 0.4], [1.2, 0.0]])
    # A rigid shift is the optimal plan where no pair is half a turn apart.
    assert score("torus_w2", cloud + shift, cloud) == pytest.approx(1.3, abs=1e-6)
    assert score("torus_w2_per_residue", cloud + shift, cloud) == pytest.approx(0.85, abs=1e-6)
    flat = cloud.reshape(150, 4)
    assert score("torus_w2_all", flat + shift.ravel(), flat) == pytest.approx(1.3, abs=1e-6)
    uneven = score("torus_w2", cloud + shift, cloud[:149])
    assert uneven == pytest.approx(1.3, abs=0.01)


def test_debiased_torus_w2(maps):
    model, truth = (side[:60, 0] for side in maps)

    def square(a, b):
        cost = np.array([[np.sum(np.angle(np.exp(1j * (x - y))) ** 2) for y in b] for x in a])
        return cost[linear_sum_assignment(cost)].mean()

    rng = np.random.default_rng(3)
    halves = []
    for side in (model, truth):
        order = rng.permutation(60)
        halves.append((side[order[::2]], side[order[1::2]]))
    (a, c), (b, d) = halves
    exact = (square(a, b) + square(c, d) - square(a, c) - square(b, d)) / 2
    found = score("torus_w2_debiased", model[:, None], truth[:, None], seed=3)
    assert found == pytest.approx(np.sqrt(max(exact, 0)), rel=1e-9)
    rng = np.random.default_rng(1)
    sides = [rng.normal(scale=0.3, size=(800, 1, 2)) for _ in range(2)]
    moved = sides[0] + [0.5, 0.0]
    assert score("torus_w2_debiased", moved, sides[1]) == pytest.approx(0.5, abs=0.04)
    # The same law: what is left is much less than the bias of the plain score.
    plain = score("torus_w2", *sides)
    assert score("torus_w2_debiased", *sides) < 0.6 * plain


def test_tica_w2_of_shifted_normals():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(400, 2))
    assert score("tica_w2", cloud + [3.0, 4.0], cloud) == pytest.approx(5.0, abs=1e-6)
    a, b = cloud[:120], rng.normal(size=(120, 2))
    cost = ((a[:, None] - b[None]) ** 2).sum(-1)
    exact = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    assert score("tica_w2", a, b) == pytest.approx(exact, rel=1e-9)


def test_energy_metrics_of_normals():
    levels = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert score("energy_w1", levels + 3, levels) == pytest.approx(3, rel=1e-6)
    # W2 of normals: root of (difference of means)² + (difference of standard deviations)².
    assert score("energy_w2", 1.5 * levels + 3, levels) == pytest.approx(np.hypot(3, 0.5), rel=1e-3)
    uneven = levels[::3] * 1.2
    assert score("energy_w1", uneven, levels) == pytest.approx(wasserstein_distance(uneven, levels))
    shifted = score("energy_tail", levels + 1, levels)
    assert shifted == pytest.approx(norm.sf(norm.isf(0.001) - 1), rel=0.02)
    assert score("energy_tail", levels, levels) == pytest.approx(0.001, abs=1e-4)


@pytest.mark.parametrize("kind", ["bond", "angle", "improper"])
def test_geometry_metrics_of_normals(kind):
    levels = norm.ppf((np.arange(4000) + 0.5) / 4000)
    widths, shifts = np.array([0.9, 1.0, 1.3]), np.array([0.0, 0.5, 2.0])
    truth = np.stack([levels] * 3, axis=1)
    model = truth * widths + shifts
    each = [wasserstein_distance(a, b) for a, b in zip(model.T, truth.T, strict=True)]
    assert score(f"{kind}_w1", model, truth) == pytest.approx(np.median(each), rel=1e-9)
    assert score(f"{kind}_sd_error", model, truth) == pytest.approx(np.log(1 / 0.9), rel=1e-9)
    # Force constants k and 1.2 k have standard deviations as 1 and 1 / sqrt(1.2).
    stiff = truth / np.sqrt(1.2)
    assert score(f"{kind}_stiffness", stiff, truth) == pytest.approx(0.2, rel=1e-9)


def test_effective_sample_size_of_known_weights():
    weights = np.array([1.0, 1.0, 2.0, 4.0])
    logs = np.log(weights) + 700.0  # must not overflow
    exact = 8.0**2 / (4 * 22.0)
    assert score("kish_ess", logs, logs) == pytest.approx(exact, rel=1e-12)
    assert score("largest_weight", logs, logs) == pytest.approx(0.5, rel=1e-12)
    # Of 1000 weights the largest two are cut to the third.
    many = np.zeros(1000)
    many[:3] = np.log([50.0, 20.0, 3.0])
    clipped = np.r_[np.full(3, 3.0), np.ones(997)]
    exact = clipped.sum() ** 2 / (1000 * np.sum(clipped**2))
    assert score("kish_ess_clipped", many, many) == pytest.approx(exact, rel=1e-12)
    alone = np.array([-np.inf, 0.0, -np.inf, -np.inf])
    assert score("kish_ess_clipped", alone, alone) == 0.25
    # Log-normal weights of width s have an effective share exp(-s²).
    drawn = np.random.default_rng(0).normal(scale=0.5, size=400_000)
    assert score("kish_ess", drawn, drawn) == pytest.approx(np.exp(-0.25), rel=0.01)


def test_invalid_share():
    passed = np.array([True, True, False, True])
    assert score("invalid_share", passed, passed[:2]) == 0.25
