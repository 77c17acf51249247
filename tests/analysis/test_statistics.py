import numpy as np
import pytest
from scipy.signal import lfilter

from molflow.analysis.statistics import (
    block_length,
    few_blocks,
    resample,
    statistical_inefficiency,
)


def autoregressive(n, rho, seed):
    noise = np.random.default_rng(seed).normal(size=n + 1000)
    return lfilter([1.0], [1.0, -rho], noise)[1000:]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_inefficiency_of_an_autoregressive_series(rho):
    found = statistical_inefficiency(autoregressive(200_000, rho, 1))
    assert found == pytest.approx((1 + rho) / (1 - rho), rel=0.1)


def test_inefficiency_is_pymbars():
    from pymbar.timeseries import statistical_inefficiency as theirs

    series = autoregressive(5000, 0.8, 3)
    assert statistical_inefficiency(series) == pytest.approx(theirs(series, mintime=1), rel=1e-6)


def test_runs_in_different_states_count_as_slow():
    rng = np.random.default_rng(0)
    runs = np.repeat([0, 1], 1000)
    apart = rng.normal(size=2000) + 5 * runs
    assert statistical_inefficiency(apart, runs) > 500
    assert statistical_inefficiency(rng.normal(size=2000), runs) < 1.5
    assert statistical_inefficiency(np.ones(10)) == 1.0


def test_blocks_stay_within_runs_and_are_contiguous():
    runs = np.repeat([0, 1], [50, 31])
    index = resample(runs, 10, np.random.default_rng(0))
    assert len(index) == 81
    for block in np.array_split(index, range(10, 81, 10)):
        assert len(set(runs[block])) == 1
        size, first = (50, 0) if runs[block[0]] == 0 else (31, 50)
        assert np.all(np.diff(block - first) % size == 1)


def test_block_bootstrap_gives_the_error_of_a_correlated_mean():
    rho, n = 0.9, 4000
    series = autoregressive(n, rho, 7)
    rng = np.random.default_rng(1)
    length = 2 * block_length((1 + rho) / (1 - rho), n)
    runs = np.zeros(n, int)
    means = [series[resample(runs, length, rng)].mean() for _ in range(400)]
    exact = 1 / (1 - rho) / np.sqrt(n)  # sd of the mean of an AR(1) with unit innovations
    assert np.std(means) == pytest.approx(exact, rel=0.25)
    naive = [series[resample(runs, 1, rng)].mean() for _ in range(400)]
    assert np.std(naive) < 0.5 * exact


def test_block_length_limits():
    assert block_length(1.1, 1000) == 1
    assert block_length(20.2, 1000) == 41
    assert block_length(500.0, 1000) == 250


def test_errors_from_few_blocks_are_widened_as_much_as_chance_asks():
    """As often as a normal deviate is beyond 2.6 standard deviations: 0.93 % of the time."""
    for blocks in (4, 8, 16):
        drawn = np.random.default_rng(blocks).normal(size=(100_000, blocks))
        error = drawn.std(axis=1, ddof=1) / np.sqrt(blocks) * few_blocks(20 * blocks, 20)
        assert np.mean(np.abs(drawn.mean(axis=1)) > 2.6 * error) == pytest.approx(0.0093, rel=0.1)
    assert few_blocks(300, 1) == 1.0 and few_blocks(10**6, 2) == pytest.approx(1.0, abs=1e-4)
