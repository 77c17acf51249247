"""The last step by physics: Gaussians in closed form, a law with walls, a mixture."""

import math

import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule, anneal
from molflow.exact.laplace import laplace

WIDTHS = np.array([0.02, 0.1, 0.3, 1.0, 2.0])
MIDDLE = np.linspace(-1.0, 1.0, 5)


def gaussian(q):
    away = (q - MIDDLE) / WIDTHS
    return 0.5 * away @ away, away / WIDTHS


LOG_INTEGRAL = 2.5 * math.log(2 * math.pi) + np.log(WIDTHS).sum()


def test_laplace_of_a_gaussian_is_the_gaussian():
    base = laplace(gaussian, np.zeros(5), 1e-3, 1e-9)
    assert np.allclose(base.mode, MIDDLE, atol=1e-2 * WIDTHS)
    assert np.allclose(base.factor @ base.factor.T, np.diag(WIDTHS**2), rtol=1e-4, atol=1e-8)
    assert base.log_volume == pytest.approx(LOG_INTEGRAL, abs=1e-4)


def test_a_gaussian_needs_no_annealing():
    base = laplace(gaussian, np.zeros(5), 1e-3, 1e-9)
    found = anneal(gaussian, base, Schedule(4, 4, 3, 0.3), np.random.default_rng(0))
    assert found.log_integral == pytest.approx(LOG_INTEGRAL, abs=2e-2)
    assert found.acceptance > 0.8


def quartic(q):
    """exp(−q⁴ − q²/2): far from its Laplace Gaussian in the tails."""
    return float(np.sum(q**4 + 0.5 * q**2)), 4 * q**3 + q


def test_the_estimate_is_unbiased_and_its_points_are_of_the_law():
    nodes = np.linspace(-4, 4, 20001)
    density = np.exp(-(nodes**4) - 0.5 * nodes**2)
    one = density.sum() * (nodes[1] - nodes[0])
    second = (density * nodes**2).sum() / density.sum()
    base = laplace(quartic, np.full(3, 0.5), 1e-3, 0.1)
    rng = np.random.default_rng(1)
    runs = [anneal(quartic, base, Schedule(2, 5, 3, 0.4), rng) for _ in range(600)]
    weights = np.exp([run.log_integral - 3 * math.log(one) for run in runs])
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / 600**0.5)
    assert 0.05 < weights.std() < 1.0
    squares = np.array([np.mean(run.point**2) for run in runs])
    mean = (weights * squares).sum() / weights.sum()
    error = np.sqrt(np.mean((weights * (squares - second)) ** 2) / 600)
    assert mean == pytest.approx(second, abs=4 * error)
    # The laws on the way alone, without their weights, are another one: too wide.
    assert np.mean(squares) == pytest.approx(second, abs=0.1)


def test_more_temperatures_leave_less_noise():
    base = laplace(quartic, np.full(3, 0.5), 1e-3, 0.1)
    rng = np.random.default_rng(2)

    def spread(temperatures):
        schedule = Schedule(1, temperatures, 3, 0.4)
        return np.std([anneal(quartic, base, schedule, rng).log_integral for _ in range(150)])

    assert spread(12) < 0.7 * spread(2)


def test_a_law_with_a_wall_has_half_its_integral():
    def walled(q):
        value, slope = gaussian(q)
        return (value if q[0] > MIDDLE[0] else np.inf), slope

    base = laplace(gaussian, np.zeros(5), 1e-3, 1e-9)
    rng = np.random.default_rng(3)
    runs = [anneal(walled, base, Schedule(4, 4, 3, 0.3), rng) for _ in range(200)]
    shares = np.exp([run.log_integral - LOG_INTEGRAL for run in runs])
    assert shares.mean() == pytest.approx(0.5, abs=4 * shares.std() / 200**0.5 + 0.01)
    inside = [run.point[0] > MIDDLE[0] for run in runs if np.isfinite(run.log_integral)]
    assert all(inside) and len(inside) < 200


def test_schedules_that_cannot_be():
    for name, value in (("chains", 0), ("temperatures", 1), ("leapfrog", 0), ("length", 0.0)):
        with pytest.raises(MolflowError, match=f"{name} is {value}"):
            Schedule(**{name: value})


def test_a_law_that_no_chain_reaches_has_no_integral():
    base = laplace(gaussian, np.zeros(5), 1e-3, 1e-9)
    nothing = anneal(
        lambda q: (np.inf, np.zeros(5)), base, Schedule(2, 3, 2, 0.3), np.random.default_rng(0)
    )
    assert nothing.log_integral == -np.inf
