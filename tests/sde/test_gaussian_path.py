"""Reversals along any Gaussian path: rates, lift, gain, martingale."""

import math

import pytest
import torch
from scipy.integrate import quad, solve_ivp

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment, sample_increment
from molflow.errors import MolflowError
from molflow.sde.gaussian_path import GaussianPathReversal, StraightPath, VariancePreserving
from molflow.sde.reverse_diffusion import ReverseDiffusion

DOUBLE = {"dtype": torch.float64}
PATHS = [
    VariancePreserving(eta=1.0),
    VariancePreserving(eta=0.6, cut=0.01),
    VariancePreserving(eta=0.0),
    StraightPath(eta=1.0),
    StraightPath(),
]
SPANS = [(0.1, 0.4), (0.3, 0.95), (0.9, 0.99)]


class Exploding(GaussianPathReversal):
    """The path of `ReverseDiffusion`, on its clock, by the general formulas."""

    eta = 0.7

    def logarithms(self, t):
        return 0.0 * t, math.log(10.0) - t

    def time(self, log_kappa):
        return math.log(10.0) - log_kappa


def value(x):
    return float(x)


@pytest.mark.parametrize("sde", PATHS, ids=repr)
@pytest.mark.parametrize(("s", "t"), SPANS)
def test_lift_gain_and_martingale_follow_from_the_rates(sde, s, t):
    """Phi, G and Var M by integrating Phi' = a Phi, G' = a G + b, V' = 2 a V + g^2."""

    def change(u, state):
        a, b, g = (value(part) for part in sde.rates(torch.tensor(u, **DOUBLE)))
        lift, gain, variance = state
        return [a * lift, a * gain + b, 2 * a * variance + g**2]

    done = solve_ivp(change, (s, t), [1.0, 0.0, 0.0], method="DOP853", rtol=1e-11, atol=1e-14)
    lift, gain, variance = done.y[:, -1]
    assert value(sde.lift(s, t)) == pytest.approx(lift, rel=1e-8)
    assert value(sde.gain(s, t)) == pytest.approx(gain, rel=1e-8)
    assert value(sde.martingale_variance(s, t)) == pytest.approx(variance, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("sde", PATHS, ids=repr)
@pytest.mark.parametrize(("s", "t"), SPANS)
def test_projection_is_the_integral_against_legendre(sde, s, t):
    found = sde.martingale_projection(s, t, 4).tolist()
    h = t - s
    legendre = [
        lambda x: 1.0, lambda x: x, lambda x: (3 * x**2 - 1) / 2, lambda x: (5 * x**3 - 3 * x) / 2
    ]  # fmt: skip
    for n, (c, polynomial) in enumerate(zip(found, legendre, strict=True)):

        def kernel(u, polynomial=polynomial):
            u = torch.tensor(u, **DOUBLE)
            return value(sde.lift(u, t) * sde.rates(u)[2]) * polynomial(2 * (value(u) - s) / h - 1)

        expected = (2 * n + 1) / h * quad(kernel, s, t, epsabs=1e-11, limit=200)[0]
        assert c == pytest.approx(expected, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("sde", PATHS[:3], ids=repr)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.97])
def test_drift_is_the_reversal_of_the_forward_equation(sde, t):
    """Anderson's reversal of dX = -beta X/2 dr + sqrt(beta) dW, written with the score."""
    x, d = 0.8, -0.3
    beta = sde.beta_start + (sde.beta_end - sde.beta_start) * (1.0 - t)
    score = (value(sde.alpha(t)) * d - x) / value(sde.sigma(t)) ** 2
    expected = 0.5 * beta * x + 0.5 * (1.0 + sde.eta**2) * beta * score
    time = torch.tensor(t, **DOUBLE)
    found = sde.drift(time, torch.tensor([x], **DOUBLE), torch.tensor([d], **DOUBLE))
    assert value(found) == pytest.approx(expected, rel=1e-10)
    assert value(sde.rates(time)[2]) == pytest.approx(sde.eta * math.sqrt(beta), rel=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.8])
@pytest.mark.parametrize("t", [0.01, 0.5, 0.97])
def test_drift_of_the_straight_path_is_its_flow_and_a_langevin_part(eta, t):
    """x_0 - eps of the straight line, and g^2/2 times the score with g^2 = 2 eta^2 (1 - t)/t."""
    sde, x, d = StraightPath(eta=eta), 0.8, -0.3
    eps = (x - t * d) / (1.0 - t)
    square = 2.0 * eta**2 * (1.0 - t) / t
    expected = d - eps - 0.5 * square * eps / (1.0 - t)
    time = torch.tensor(t, **DOUBLE)
    found = sde.drift(time, torch.tensor([x], **DOUBLE), torch.tensor([d], **DOUBLE))
    assert value(found) == pytest.approx(expected, rel=1e-10)
    assert value(sde.rates(time)[2]) == pytest.approx(math.sqrt(square), rel=1e-10)


@pytest.mark.parametrize("sde", PATHS, ids=repr)
def test_time_inverts_log_kappa(sde):
    t = torch.linspace(0.002, sde.duration, 50, **DOUBLE)
    assert (sde.time(sde.logarithms(t)[1]) - t).abs().max() < 1e-12
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    both = alpha**2 + sigma**2 if isinstance(sde, VariancePreserving) else alpha + sigma
    assert (both - 1.0).abs().max() < 1e-12


def test_general_formulas_give_the_variance_exploding_case():
    special, general = ReverseDiffusion(eta=0.7), Exploding()
    s, t = torch.tensor([0.2, 3.0], **DOUBLE), torch.tensor([1.5, 3.1], **DOUBLE)
    for name in ("lift", "gain"):
        assert torch.allclose(
            getattr(special, name)(s, t), getattr(general, name)(s, t), rtol=1e-12
        )
    for one, other in zip(special.rates(t), general.rates(t), strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    one, other = (sde.martingale_projection(s, t, 5) for sde in (special, general))
    assert torch.allclose(one, other, rtol=1e-11)


def test_martingale_is_the_conditional_mean_and_its_rest_is_known():
    """Against the sum over a fine path: the error has the variance that the projection misses."""
    sde, order, pieces, count = VariancePreserving(), 3, 400, 4000
    s, t = 0.5, 0.98
    generator = torch.Generator().manual_seed(0)
    edges = torch.linspace(s, t, pieces + 1, **DOUBLE)
    middle = 0.5 * (edges[1:] + edges[:-1])
    h = (t - s) / pieces
    steps = math.sqrt(h) * torch.randn(count, pieces, generator=generator, **DOUBLE)
    fine = steps @ (sde.lift(middle, t) * sde.rates(middle)[2])
    theta = 2 * (middle - s) / (t - s) - 1
    legendre = torch.stack([torch.ones_like(theta), theta, 1.5 * theta**2 - 0.5], dim=-1)
    increment = Increment(Basis(order), torch.tensor(t - s, **DOUBLE), (steps @ legendre)[:, None])
    error = fine - sde.martingale(s, t, increment)[:, 0]
    n = torch.arange(order, **DOUBLE)
    seen = (sde.martingale_projection(s, t, order) ** 2 * (t - s) / (2 * n + 1)).sum()
    unseen = value(sde.martingale_variance(s, t) - seen)
    assert value(error.var()) == pytest.approx(unseen, rel=5 * math.sqrt(2 / count))
    assert abs(value((error * steps.sum(1)).mean())) < 5 * math.sqrt(unseen * (t - s) / count)


def test_batched_times_work():
    sde = VariancePreserving()
    s, t = torch.tensor([0.1, 0.5]), torch.tensor([0.4, 0.9])
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(Basis(3), t - s, (2, 4, 3), generator)
    x, n = torch.randn(2, 2, 4, 3, generator=generator)
    both = sde.apply(s, t, x, n, increment)
    one = Increment(Basis(3), (t - s)[1:], increment.features[1:])
    assert both.dtype == torch.float32
    assert torch.allclose(both[1:], sde.apply(s[1:], t[1:], x[1:], n[1:], one), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: VariancePreserving(cut=0.0), "cut is 0.0"),
        (lambda: VariancePreserving(eta=-1.0), "eta is -1.0"),
        (lambda: VariancePreserving(beta_start=0.0), "positive"),
        (lambda: StraightPath(cut=0.6), "between 0 and 1/2"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
