"""A map's own shares beside those by weights: errors, and what is said of a planted bias."""

import numpy as np
import pytest

from molflow.analysis.observables import BASIN_NAMES
from molflow.exact.own_shares import bias_of, own_shares
from molflow.exact.strata import choose

TARGET = np.array([0.58, 0.40, 0.02])
WANTED = {"beta": 300, "alpha_r": 300, "alpha_l": 500}
NOISE = 0.8


def drawn(own, n, rng, wanted=None):
    """Draws of a map with noise in ln w, and conformations that leave their stratum."""
    strata = rng.choice(3, size=n, p=own)
    numbers, factors = choose(strata, wanted or dict.fromkeys(WANTED, n))
    basins = np.where(rng.random(len(numbers)) < 0.02, 0, strata[numbers])
    # One in fifty ends in β, whatever its stratum: so much less does the map draw of the others.
    ends = np.where(np.arange(3) == 0, 0.98 * own + 0.02, 0.98 * own)
    log_weights = rng.normal(np.log(TARGET / ends)[basins] - NOISE**2 / 2, NOISE)
    marks = {name: basins == k for k, name in enumerate(BASIN_NAMES)}
    return own_shares(log_weights, factors, marks), ends


@pytest.mark.parametrize("wanted", [None, WANTED])
def test_the_bias_of_a_free_energy_and_its_error(wanted):
    rng, own = np.random.default_rng(0), np.array([0.55, 0.40, 0.05])
    far = []
    for _ in range(40):
        found, ends = drawn(own, 12_000, rng, wanted)
        true = np.log(TARGET / (1 - TARGET)) - np.log(ends / (1 - ends))
        far.append([
            (row["bias"] - value) / row["bias_error"]
            for row, value in zip(found.values(), true, strict=True)
        ])  # fmt: skip
    assert np.abs(np.mean(far, axis=0)).max() < 0.5
    assert np.all((np.std(far, axis=0) > 0.7) & (np.std(far, axis=0) < 1.35))


def test_a_basin_drawn_twice_as_often_is_said_and_the_right_share_is_not():
    rng = np.random.default_rng(1)
    doubled = TARGET * [1.0, 1.0, 2.0]
    twice, _ = drawn(doubled / doubled.sum(), 40_000, rng, WANTED)
    sentence = bias_of("alpha_l", **twice["alpha_l"])
    ratio = twice["alpha_l"]["own"] / twice["alpha_l"]["weighted"]
    assert 1.8 < ratio < 2.2
    assert f"draws αL {ratio:.2f} times as often" in sentence and "too low" in sentence
    half = {"own": 0.01, "weighted": 0.02, "bias": 0.7, "bias_error": 0.1}
    assert "αL 0.50 times" in bias_of("alpha_l", **half) and "too high" in bias_of(
        "alpha_l", **half
    )
    said = 0
    for _ in range(50):
        right, _ = drawn(TARGET, 12_000, rng, WANTED)
        said += sum(bias_of(name, **row) is not None for name, row in right.items())
    assert said <= 6  # of 150; three errors of weights with heavy tails are exceeded by a hundredth


def test_a_basin_that_is_never_or_always_drawn_has_no_ratio():
    marks = {"beta": np.ones(5, bool), "alpha_l": np.zeros(5, bool)}
    assert own_shares(np.zeros(5), np.zeros(5), marks) == {}
    marks = {"beta": np.arange(5) < 2, "alpha_l": np.arange(5) == 4}
    log_weights = np.array([0.0, 1.0, 0.0, 0.0, -np.inf])
    assert set(own_shares(log_weights, np.zeros(5), marks)) == {"beta"}
