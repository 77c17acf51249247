import math

import numpy as np
import pytest

from molflow.checking.finding import (
    Finding,
    bootstrap_interval,
    judge,
    share_interval,
    worst,
)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.0, 0.4), "pass"), ((0.2, 0.6), "inconclusive"), ((0.5, 0.5), "pass"), ((0.6, 2), "fail")],
)
def test_a_number_is_judged_by_its_whole_interval(interval, verdict):
    assert judge(interval, 0.5) == verdict


def test_one_failure_outweighs_the_rest():
    assert worst(["pass", "inconclusive", "fail"]) == "fail"
    assert worst(["pass", "inconclusive"]) == "inconclusive"
    assert worst(["pass", "pass"]) == "pass"


def test_share_interval_solves_the_binomial_equations():
    n = 300
    low, high = share_interval(0, n)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / n), rel=1e-9)
    low, high = share_interval(2, n)

    def at_most(count, p):
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count + 1))

    assert at_most(2, high) == pytest.approx(0.025, rel=1e-6)
    assert 1 - at_most(1, low) == pytest.approx(0.025, rel=1e-6)


def test_bootstrap_interval_of_a_mean_is_that_of_the_central_limit():
    values = np.random.default_rng(0).exponential(size=2000)
    low, high = bootstrap_interval(lambda members: values[members].mean(), 2000, seed=1)
    half = 1.96 * values.std() / 2000**0.5
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_numbers_that_are_not_finite_are_left_out_of_json():
    found = Finding("a", "A", "fail", "No.", math.inf, 1, (np.float32(0.5), math.nan), details={
        "list": [np.int64(3), math.inf],
    }).to_dict()  # fmt: skip
    assert found["value"] is None and found["interval"] == [0.5, None]
    assert found["details"] == {"list": [3, None]}
