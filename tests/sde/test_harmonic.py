"""The cooling law of harmonic modes."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.linalg import expm, solve_discrete_lyapunov
from scipy.special import ive, spherical_jn

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.sde.harmonic import HarmonicMode, overdamped_temperature

PERIOD = 0.7
#: Weak friction, near critical damping, and strong friction.
FRICTIONS = [0.1 / PERIOD, 12.0 / PERIOD, 50.0 / PERIOD]


def drift_matrix(mode):
    return np.array([[0.0, 1.0], [-((2 * math.pi / mode.period) ** 2), -mode.friction]])


def scipy_projection(mode, h, order):
    """c_n by adaptive quadrature of the matrix exponential."""
    noise = np.array([0.0, math.sqrt(2 * mode.friction)])

    def integrand(theta):
        kernel = expm(drift_matrix(mode) * h * (1 - theta)) @ noise
        legendre = np.polynomial.legendre.legvander(2 * theta - 1, order - 1)
        return np.outer(kernel, legendre * (2 * np.arange(order) + 1)).ravel()

    return integrate.quad_vec(integrand, 0, 1, epsabs=1e-13)[0].reshape(2, order)


@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
def test_map_and_temperature_agree_with_scipy(friction, ratio):
    mode, h, order = HarmonicMode(PERIOD, friction), ratio * PERIOD, 6
    if friction * h > 60:
        h = 60 / friction
    lift, seen = mode.lift(h).numpy(), mode.projection(h, order).numpy()
    units = np.array([[1.0], [mode.frequency]])
    assert np.allclose(lift, expm(drift_matrix(mode) * h), rtol=0, atol=1e-12 / PERIOD)
    expected = scipy_projection(mode, h, order)
    assert (np.abs(seen - expected).max(1) < 1e-10 * np.abs(expected).max(1)).all()
    spread = (expected * h / (2 * np.arange(order) + 1)) @ expected.T
    covariance = solve_discrete_lyapunov(lift, spread)
    found = mode.covariance(h, order).numpy()
    assert (np.abs(found - covariance) * units * units.T).max() < 1e-9
    t_x, t_v = mode.temperatures(h, order)
    assert t_x == pytest.approx(mode.frequency**2 * covariance[0, 0], rel=1e-9)
    assert t_v == pytest.approx(covariance[1, 1], rel=1e-9)


@pytest.mark.parametrize("friction", FRICTIONS)
@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_enough_coefficients_keep_the_mode_at_temperature(friction, ratio):
    mode = HarmonicMode(PERIOD, friction)
    covariance = mode.covariance(ratio * PERIOD, 32).numpy()
    units = np.array([[mode.frequency, 1.0]])
    assert np.abs(covariance * units * units.T - np.eye(2)).max() < 1e-6
    fewer = [sum(mode.temperatures(ratio * PERIOD, order)) / 2 for order in range(1, 12)]
    assert all(low < high + 1e-12 for low, high in zip(fewer, fewer[1:], strict=False))
    assert fewer[0] < 0.999


def test_known_temperatures_at_weak_friction():
    """At h/P = 1, 2 and 4, where a free vibration comes back to where it was."""
    mode = HarmonicMode(PERIOD, FRICTIONS[0])
    known = {(1, 3): 0.61, (1, 4): 0.99, (2, 4): 0.29, (2, 6): 0.91, (2, 8): 0.997, (4, 12): 0.89}
    for (ratio, order), value in known.items():
        digits = 0.0005 if value == 0.997 else 0.005
        assert mode.temperatures(ratio * PERIOD, order)[0] == pytest.approx(value, abs=digits)
    # There position and velocity do not mix and have temperatures of their own.
    assert mode.temperatures(PERIOD, 4)[1] == pytest.approx(0.924, abs=0.0005)
    assert mode.temperatures(2 * PERIOD, 4)[1] == pytest.approx(0.058, abs=0.0005)


@pytest.mark.parametrize("ratio", [0.37, 1.0, 2.6])
def test_vanishing_friction_gives_the_bessel_sum(ratio):
    mode = HarmonicMode(PERIOD, 1e-4 / PERIOD)
    for order in (1, 3, 6, 10):
        n = np.arange(order)
        expected = float(((2 * n + 1) * spherical_jn(n, math.pi * ratio) ** 2).sum())
        t_x, t_v = mode.temperatures(ratio * PERIOD, order)
        assert (t_x + t_v) / 2 == pytest.approx(expected, abs=1e-4)
        if 2 * ratio != round(2 * ratio):
            assert t_x == pytest.approx(t_v, abs=1e-3)


@pytest.mark.parametrize("friction", [0.01, 0.1, 1.0, 2 * math.pi, 4 * math.pi])
def test_the_rule_for_the_number_of_coefficients(friction):
    """N >= 3.2 h/P + 3 up to critical damping, the last of these, and not much less."""
    mode = HarmonicMode(1.0, friction)
    for ratio in np.arange(0.25, 5.01, 0.25):
        order = math.ceil(3.2 * ratio + 3)
        assert min(mode.temperatures(ratio, order)) > 0.996
        if friction < 1 and ratio >= 1:
            assert min(mode.temperatures(ratio, order - 4)) < 0.95


@pytest.mark.parametrize("order", [1, 4, 16, 32])
@pytest.mark.parametrize("q", [1e-6, 0.5, 20.0, 300.0])
def test_overdamped_temperature(q, order):
    n, x = np.arange(order), q / 2
    bessel = math.sqrt(math.pi / (2 * x)) * ive(n + 0.5, x)
    expected = ((2 * n + 1) * bessel**2).sum() * 2 * q / -math.expm1(-2 * q)
    assert overdamped_temperature(q, order) == pytest.approx(expected, rel=1e-12)


def test_overdamped_temperature_by_quadrature():
    q, order = 3.0, 3
    share = 0.0
    for n in range(order):
        legendre = np.polynomial.legendre.Legendre.basis(n, domain=[0, 1])
        seen = integrate.quad(lambda u, p=legendre: math.exp(-q * (1 - u)) * p(u), 0, 1)[0]
        share += (2 * n + 1) * seen**2
    total = integrate.quad(lambda u: math.exp(-2 * q * (1 - u)), 0, 1)[0]
    assert overdamped_temperature(q, order) == pytest.approx(share / total, rel=1e-12)


def test_velocity_of_a_heavily_damped_mode_is_overdamped():
    mode = HarmonicMode(40.0, 60.0)
    for order in (2, 8):
        expected = overdamped_temperature(60.0, order)
        assert mode.temperatures(1.0, order)[1] == pytest.approx(expected, rel=1e-3)


def test_the_map_is_the_mean_of_fine_solutions_that_share_the_coefficients():
    """Sixteen fine steps and one of the joined increment: the difference is pure noise."""
    count, order, h = 20_000, 4, 1.3 * PERIOD
    mode = HarmonicMode(PERIOD, 4.0 / PERIOD)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    path = BrownianPath(Basis(order), 0.0, h, (count,), 3, depth=4, dtype=torch.float64)
    fine = start
    for k in range(16):
        fine = mode.step(fine, path.increment(h * k / 16, h * (k + 1) / 16))
    increment = path.increment(0.0, h)
    rest = (fine - mode.step(start, increment)).numpy()
    known = np.concatenate([start.numpy(), increment.whitened().numpy()], axis=1)
    correlation = np.corrcoef(rest.T, known.T)[:2, 2:]
    assert np.abs(correlation).max() < 5 / math.sqrt(count)
    # What is left has the covariance of the whole martingale less that of its mean.
    stationary = np.diag([mode.frequency**-2, 1.0])
    lift, seen = mode.lift(h).numpy(), mode.projection(h, order).numpy()
    whole = stationary - lift @ stationary @ lift.T
    expected = whole - (seen * h / (2 * np.arange(order) + 1)) @ seen.T
    units = 1 / np.sqrt(np.diag(expected))
    found = np.cov(rest.T) * units[:, None] * units
    assert np.abs(found - expected * units[:, None] * units).max() < 5 * math.sqrt(2 / count)
    assert units[1] ** -2 > 0.02


@pytest.mark.parametrize(("ratio", "order"), [(1.0, 3), (1.0, 4), (2.0, 4), (2.0, 8)])
def test_walked_chains_have_the_temperature(ratio, order):
    """Steps of increments that are joined from finer ones of one path."""
    count, h = 20_000, ratio * PERIOD
    mode = HarmonicMode(PERIOD, 2.0 / PERIOD)
    steps = math.ceil(16 / (mode.friction * h))
    path = BrownianPath(Basis(order), 0.0, steps * h, (count,), 8, depth=12, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    state = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    state[:, 0] /= mode.frequency
    for k in range(steps):
        cut = path.snap((k + 0.4) * h)
        left, right = path.increment(k * h, cut), path.increment(cut, (k + 1) * h)
        state = mode.step(state, join(left, right))
    found = state.square().mean(0) * torch.tensor([mode.frequency**2, 1.0])
    for measured, predicted in zip(found.tolist(), mode.temperatures(h, order), strict=True):
        assert measured == pytest.approx(predicted, rel=5 * math.sqrt(2 / count))


def draw(h, shape):
    return sample_increment(Basis(2), h, shape, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: HarmonicMode(0.0, 1.0), "period is 0.0"),
        (lambda: HarmonicMode(1.0, 0.0), "friction is 0.0"),
        (lambda: HarmonicMode(1.0, math.inf), "friction is inf"),
        (lambda: HarmonicMode(1.0, 1.0).temperatures(0.0, 4), "h is 0.0"),
        (lambda: HarmonicMode(1.0, 1.0).temperatures(-1.0, 4), "h is -1.0"),
        (lambda: HarmonicMode(1.0, 1.0).temperatures(12.0, 4), "at most 11.1"),
        (lambda: HarmonicMode(1.0, 1.0).temperatures(1.0, 0), "order is 0"),
        (lambda: HarmonicMode(1.0, 1.0).step(torch.zeros(4), draw(0.1, (4,))), "state has shape"),
        (
            lambda: HarmonicMode(1.0, 1.0).step(torch.zeros(4, 2), draw(torch.ones(4), (4,))),
            "one length",
        ),
        (lambda: overdamped_temperature(0.0, 4), "q is 0.0"),
        (lambda: overdamped_temperature(1.0, 33), "order is 33"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
