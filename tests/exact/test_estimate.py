"""Estimates over levels: allocation against brute force, means against plain sampling, refusals."""

import json
from itertools import product
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import molflow
import molflow.exact.estimate as module
from molflow.analysis.observables import BASIN_NAMES
from molflow.analysis.torsions import phi_psi
from molflow.errors import MolflowError
from molflow.exact.estimate import estimate, format_estimate
from molflow.exact.levels import Level, allocate, best_levels, pilot_levels, price
from molflow.exact.observables import observable
from molflow.maps.denoiser.draw import BLOCK
from molflow.systems import load_system

FROZEN = Path(__file__).parent.parent / "data" / "checkpoint-v1"
TOPOLOGY = load_system("alanine_dipeptide").topology()
DISTANCE = "distance:ACE1-C,NME3-N"


def toy_values(n, rng, order=1.0):
    """A common value with an error of jumps ~ K^-order."""
    common, error = rng.normal(size=n), rng.normal(size=n)
    return {k: common + error / k**order + 0.5 / k for k in (1, 2, 4, 8, 16, 32, 64)}


def test_variances_of_the_terms():
    values = toy_values(4000, np.random.default_rng(0))
    terms = pilot_levels(values)
    assert terms[None, 64].variance == pytest.approx(1 + 64**-2, rel=0.08)
    assert terms[4, 16].variance == pytest.approx((1 / 4 - 1 / 16) ** 2, rel=0.08)
    assert terms[4, 16].cost == 20 and terms[None, 4].cost == 4
    same = pilot_levels({1: values[1], 2: values[1]})
    assert same[1, 2].variance == pytest.approx(np.var(values[1], ddof=1) / 8000)


def test_the_best_sum_has_the_lowest_price_and_is_better_than_plain_sampling():
    terms = pilot_levels(toy_values(4000, np.random.default_rng(0)))
    best = best_levels(terms)
    assert best[0].coarser is None and best[-1].steps == 64
    assert all(a.steps == b.coarser for a, b in zip(best[:-1], best[1:], strict=True))
    two = [terms[None, 4], terms[4, 64]]
    assert price(best) < price(two) < price([terms[None, 64]])
    assert price(best) < 64 / 4


def test_where_steps_have_nothing_in_common_plain_sampling_is_best():
    rng = np.random.default_rng(1)
    values = {k: rng.normal(size=500) for k in (1, 2, 4)}
    assert [level.steps for level in best_levels(pilot_levels(values))] == [4]


def test_allocation_is_the_optimum():
    levels = [Level(None, 1, 2.0), Level(1, 4, 0.3), Level(4, 64, 0.01)]
    counts = allocate(levels, 1e6, 1)
    cost = sum(level.cost * n for level, n in zip(levels, counts, strict=True))
    assert cost == pytest.approx(1e6, rel=1e-3)

    def variance(numbers):
        return sum(level.variance / n for level, n in zip(levels, numbers, strict=True))

    assert variance(counts) == pytest.approx(price(levels) / 1e6, rel=1e-3)
    for a, b in product((0.8, 1.25), repeat=2):
        other = [a * counts[0], b * counts[1], 0.0]
        other[2] = (1e6 - other[0] * 1 - other[1] * 5) / 68
        assert variance(other) > variance(counts)


def test_samples_come_in_whole_blocks_within_the_calls():
    levels = [Level(None, 1, 2.0), Level(1, 4, 0.3), Level(4, 64, 0.01)]
    counts = allocate(levels, 1e6, 64)
    assert all(n % 64 == 0 and n > 0 for n in counts)
    cost = sum(level.cost * n for level, n in zip(levels, counts, strict=True))
    assert 1e6 - 64 * (1 + 5 + 68) < cost <= 1e6
    assert allocate(levels, 10.0, 64) == [64, 64, 64]


def test_many_estimates_scatter_as_their_errors_say():
    rng = np.random.default_rng(2)
    levels = best_levels(pilot_levels(toy_values(200, rng)))
    counts = allocate(levels, 2e4, 10)
    found = []
    for _ in range(300):
        mean = variance = 0.0
        for level, n in zip(levels, counts, strict=True):
            values = toy_values(n, rng)
            own = values[level.steps] - (values[level.coarser] if level.coarser else 0.0)
            mean, variance = mean + own.mean(), variance + own.var(ddof=1) / n
        found.append((mean - 0.5 / 64) / variance**0.5)
    assert abs(np.mean(found)) < 0.2 and 0.88 < np.std(found) < 1.12


@pytest.fixture(scope="module")
def plain():
    trajectory = molflow.sample(FROZEN, steps=4, n=1024, path_seed=9, progress=False)
    return observable(DISTANCE, trajectory.topology)[0](trajectory)


@pytest.mark.parametrize("flow", [False, True])
def test_equals_the_fine_mean(tmp_path, plain, flow):
    out = tmp_path / "estimate.json"
    options = {"calls": 6_000, "steps": (1, 2, 4), "progress": False, "flow": flow}
    result = estimate(FROZEN, DISTANCE, out=out, **options)
    if flow:
        trajectory = molflow.sample(
            FROZEN, steps=4, n=1024, path_seed=9, progress=False, flow=True
        )
        plain = observable(DISTANCE, trajectory.topology)[0](trajectory)
    error = np.hypot(result["error"], plain.std() / 32)
    assert result["mean"] == pytest.approx(plain.mean(), abs=4 * error)
    assert result["error"] < 0.08 * plain.std()
    assert result["unit"] == "nm" and result["calls"] <= 6_000 * 1.1
    # Samples come in whole blocks, and calls are counted for all that are drawn.
    assert all(row["samples"] % BLOCK == 0 for row in result["levels"])
    assert result["plain_error"] == pytest.approx(
        plain.std() * (4 / result["calls"]) ** 0.5, rel=0.3
    )
    told = format_estimate(result)
    assert "that of the denoiser is not" in told and result["coupled_by"] in told
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert not list(tmp_path.glob(".*"))


def test_resumes(tmp_path, monkeypatch):
    options = {"calls": 4_000, "steps": (1, 2), "progress": False}
    whole = estimate(FROZEN, DISTANCE, **options)
    original, left = module.draw_blocks, [3]

    def drawing(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(*arguments)

    monkeypatch.setattr(module, "draw_blocks", drawing)
    out = tmp_path / "estimate.json"
    with pytest.raises(KeyboardInterrupt):
        estimate(FROZEN, DISTANCE, out=out, **options)
    left[0] = 99
    assert estimate(FROZEN, DISTANCE, out=out, **options)["mean"] == whole["mean"]


def test_a_level_without_a_difference_has_an_error_still(monkeypatch):
    """Values that do not hang on the steps: the correction is zero in every sample."""
    def same(self, stage, steps, count):
        return np.arange(count) % 2 * 1.0

    monkeypatch.setattr(module._Drawing, "values", same)
    result = estimate(FROZEN, DISTANCE, calls=4000, steps=(1, 2), progress=False)
    first, last = result["levels"]
    assert last["mean"] == 0.0 and last["variance"] == pytest.approx(
        0.25 / (2 * last["samples"]), rel=0.05
    )
    assert result["error"] ** 2 > 1.001 * first["variance"] / first["samples"]


def test_observables():
    rng = np.random.default_rng(0)
    start = load_system("alanine_dipeptide").start_positions()
    x = start + 0.005 * rng.normal(size=(5, *start.shape))
    trajectory = mdtraj.Trajectory(x, TOPOLOGY)
    distance, unit = observable("distance:ALA2-CA,ALA2-CB", TOPOLOGY)
    names = [atom.name for atom in TOPOLOGY.atoms]
    ends = [i for i, atom in enumerate(TOPOLOGY.atoms) if atom.name in ("CA", "CB")]
    assert len(ends) == 2 and names[ends[0]] == "CA" and unit == "nm"
    by_hand = np.linalg.norm(x[:, ends[0]] - x[:, ends[1]], axis=1)
    assert np.allclose(distance(trajectory), by_hand, atol=1e-6)
    coupling, unit = observable("coupling:1", TOPOLOGY)
    phi = phi_psi(trajectory)[:, 0]
    # Vögeli et al., J. Am. Chem. Soc. 129, 9377 (2007): 8.4 cos² − 1.36 cos + 0.33.
    cosine = np.cos(phi - np.pi / 3)
    by_hand = 8.4 * cosine**2 - 1.36 * cosine + 0.33
    assert unit == "Hz" and np.allclose(coupling(trajectory), by_hand, atol=1e-4)
    shares = [observable(f"share:{name}", TOPOLOGY)[0](trajectory) for name in BASIN_NAMES]
    assert np.array_equal(np.sum(shares, axis=0), np.ones(5))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("energy", "heavy a tail"),
        ("mass", "no observable 'mass'"),
        ("share:coil", "no basin 'coil'"),
        ("coupling:2", "the molecule has 1 torsions phi"),
        ("distance:ALA2-CA", "not of two atoms"),
        ("distance:ALA2-CA,ALA2-XX", "not of two atoms"),
    ],
)
def test_refused_observables(name, words):
    with pytest.raises(MolflowError, match=words):
        observable(name, TOPOLOGY)


def test_refused_calls_and_tails(monkeypatch):
    with pytest.raises(MolflowError, match="the pilot takes 384"):
        estimate(FROZEN, DISTANCE, calls=700, steps=(1, 2), progress=False)
    with pytest.raises(MolflowError, match="two numbers or more"):
        estimate(FROZEN, DISTANCE, steps=(4,), progress=False)
    monkeypatch.setattr(module._Drawing, "values", lambda *_: np.zeros(128))
    with pytest.raises(MolflowError, match="alpha_l is 0 in all 128 samples of the pilot"):
        estimate(FROZEN, "share:alpha_l", calls=4000, steps=(1, 2), progress=False)
    heavy = np.random.default_rng(0).normal(size=128)
    heavy[3] = 1e9
    monkeypatch.setattr(module._Drawing, "values", lambda *_: heavy)
    with pytest.raises(MolflowError, match="one of 128 samples decides its variance"):
        estimate(FROZEN, DISTANCE, calls=4000, steps=(1, 2), progress=False)
