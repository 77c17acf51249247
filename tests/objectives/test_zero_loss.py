"""Every objective vanishes at the exact map of a linear equation, and at no other."""

import math
from dataclasses import dataclass

import pytest
import torch
from linear_maps import (
    OFFSET,
    RATE,
    SHARE,
    TOTAL,
    ExactMap,
    MapFromEnd,
    ends,
    gaussian_flow,
    increments,
    nonlinear,
)
from toy_maps import gaussian_map, half_denoiser_map

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.rollout import centre_increment
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import (
    direct_residual,
    euler_matching_residual,
    matching_residual,
)
from molflow.objectives.semigroup import semigroup_residual
from molflow.sde.gaussian_path import StraightPath, VariancePreserving
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.sde.reverse_diffusion import ReverseDiffusion


@dataclass
class Case:
    """An exact map, a wrong one, what is known of both, and steps between two times."""

    exact: torch.nn.Module
    wrong: torch.nn.Module
    nonlinear: object
    end: object
    first: float = 0.0
    last: float = 3.05
    shape: tuple = (3,)

    def steps(self):
        """Return s, u, t, x and both increments."""
        scale = (self.last - self.first) / 3.05
        s, u, t = (self.first + scale * time for time in ends())
        left, right, x = increments(self.exact, s, u, t, self.shape)
        if len(self.shape) == 2:
            left, right = centre_increment(left), centre_increment(right)
            x = (x - x.mean(1, keepdim=True)) * torch.sqrt(
                1.0 + self.exact.sde.sigma(s).reshape(-1, 1, 1) ** 2
            )
        return s, u, t, x, left, right


def linear(diffusion):
    def end(s, t, x, increment):
        """X_t of dX = (RATE OFFSET - TOTAL X) dt + g dW from the feature of rate TOTAL."""
        decay = torch.exp(-TOTAL * (t - s))[:, None]
        rest = OFFSET / (1.0 - SHARE)
        return decay * (x - rest) + rest + diffusion * increment.exponentials[..., 1]

    return Case(ExactMap(diffusion), ExactMap(diffusion, 0.01), nonlinear, end)


def ornstein_uhlenbeck():
    sde = OrnsteinUhlenbeck(1.7, 0.8, 0.3)
    maps = [MapFromEnd(sde, sde.basis(3), sde.exact, sde.nonlinear, e) for e in (0.0, 0.01)]
    return Case(*maps, sde.nonlinear, sde.exact)


def half_denoiser():
    """The reverse diffusion with D(x) = x/2: X_t = exp(-h) x + sqrt(2) sigma(t) I^0."""

    def end(s, t, x, increment):
        h, sigma = (a.reshape(-1, 1, 1) for a in (t - s, half_denoiser_map().sde.sigma(t)))
        return torch.exp(-h) * x + 2**0.5 * sigma * increment.increment

    maps = half_denoiser_map(), half_denoiser_map(perturbation=0.01)
    return Case(*maps, lambda t, x: 0.5 * x, end, last=8.5, shape=(5, 3))


def deterministic(sde, first, last):
    maps = gaussian_flow(sde, 0.5), gaussian_flow(sde, 0.5, 0.01)
    return Case(*maps, maps[0].nonlinear, maps[0].end, first, last)


CASES = {
    "linear": linear(0.9),
    "linear, no noise": linear(0.0),
    "Ornstein-Uhlenbeck in its own basis": ornstein_uhlenbeck(),
    "reverse diffusion": half_denoiser(),
    "Gaussian data, log clock, no noise": deterministic(ReverseDiffusion(5.0, 0.05, 0.0), 0, 4.6),
    "Gaussian data, linear beta, no noise": deterministic(VariancePreserving(eta=0.0), 0.02, 0.95),
    "Gaussian data, straight path, no noise": deterministic(StraightPath(), 0.02, 0.95),
}


def matching(case, flow_map, s, u, t, x, left, right):
    return matching_residual(flow_map, s, x, case.nonlinear(s, x))


def direct(case, flow_map, s, u, t, x, left, right):
    whole = join(left, right)
    return direct_residual(flow_map, s, t, x, whole, case.end(s, t, x, whole))


def semigroup(case, flow_map, s, u, t, x, left, right):
    return semigroup_residual(flow_map, flow_map, s, u, t, x, left, right)


def lagrangian(case, flow_map, s, u, t, x, left, right):
    return lagrangian_residual(flow_map, case.nonlinear, s, t, x, join(left, right))


def eulerian(case, flow_map, s, u, t, x, left, right):
    return eulerian_residual(flow_map, s, t, x, case.nonlinear(s, x), join(left, right))


def mean_flow(case, flow_map, s, u, t, x, left, right):
    return mean_flow_residual(flow_map, s, t, x, case.nonlinear(s, x), join(left, right))


OBJECTIVES = [matching, direct, semigroup, lagrangian, eulerian, mean_flow]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_zero_at_the_exact_map_and_nowhere_else(objective, name):
    case = CASES[name]
    assert bool((objective(case, case.exact, *case.steps()) <= 1e-10).all())
    assert bool(objective(case, case.wrong, *case.steps()).mean() > 1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_pulls_the_map_back(objective):
    """At an error of either sign the gradient points to the exact map."""
    case = CASES["linear"]
    for error in (-0.1, 0.1):
        flow_map = ExactMap(0.9, error)
        objective(case, flow_map, *case.steps()).mean().backward()
        assert float(flow_map.error.grad) * error > 0


@pytest.mark.parametrize("objective", [lagrangian, eulerian, mean_flow])
@pytest.mark.parametrize("order", [1, 3])
def test_where_the_drift_is_linear_the_fixed_path_gives_the_conditional_mean(objective, order):
    """Gaussian data with noise: the solution needs more than the features of a step.

    The solution of a linear equation on the mean path is the mean of its solutions, so the map
    E[X_t | x, features] satisfies the equations on the fixed path, though X_t itself scatters.
    """
    exact = gaussian_map(0.5, order)
    sde = exact.sde

    def denoiser(t, x):
        return 0.25 / (0.25 + sde.sigma(t).reshape(-1, 1, 1) ** 2) * x

    case = Case(exact, None, denoiser, None, last=6.0, shape=(5, 3))
    assert float(objective(case, exact, *case.steps()).max()) <= 1e-10
    worse = gaussian_map(0.55, order)
    assert float(objective(case, worse, *case.steps()).mean()) > 1e-6


def test_a_long_step_does_not_magnify_what_a_sample_adds_to_mean_flow():
    """An error of one in n moves the target by (h/G)(Phi b + G b dn/dx), small where Phi is."""
    case = CASES["reverse diffusion"]
    sde, s = case.exact.sde, torch.zeros(4, dtype=torch.float64)
    t = s + 8.5
    x = torch.zeros(4, 5, 3, dtype=torch.float64)
    z = torch.zeros(4, 5, 3, case.exact.basis.size, dtype=torch.float64)
    increment = Increment.from_whitened(case.exact.basis, t - s, z)
    one = torch.ones_like(x) * torch.tensor([1.0, 1.0, 0.0, -1.0, -1.0]).reshape(5, 1)
    found = mean_flow_residual(case.exact, s, t, x, one, increment)
    lift, half = torch.exp(-2.0 * (t - s)), torch.exp(-(t - s))
    slope = (half - lift) / (1.0 - lift)
    moved = 8.5 / (1.0 - lift) * 2.0 * (lift + (1.0 - lift) * slope)
    expected = 0.8 * (moved / case.exact.unit(s)) ** 2
    assert torch.allclose(found, expected, rtol=1e-9, atol=0.0)
    assert float(found.max()) < 1e-4 and float(sde.lift(s, t).max()) < 1e-7


def test_euler_matching_inherits_the_bias_of_its_step():
    """The exact map has the error of one Euler-Maruyama step, about h TOTAL (n - x)/2 in n-bar."""
    flow_map, steps, found = ExactMap(0.9), (0.02, 0.01, 0.005), []
    for h in steps:
        s = torch.zeros(4000, dtype=torch.float64)
        t = s + h
        increment, _, x = increments(flow_map, s, t, t + 1.0, shape=(1,))
        n = nonlinear(s, x)
        # What the noise of the path inside the step adds is of order h^1/2 and has mean zero;
        # the bias is that of the mean over paths, here that of steps without noise.
        found.append(euler_matching_residual(flow_map, s, t, x, increment, n).mean().sqrt().item())
        quiet = Increment(increment.basis, increment.h, torch.zeros_like(increment.features))
        bias = euler_matching_residual(flow_map, s, t, x, quiet, n).sqrt()
        missed = RATE * (h + math.expm1(-TOTAL * h) / TOTAL) / -math.expm1(-RATE * h)
        assert torch.allclose(bias, missed * (n - x).abs()[:, 0], rtol=1e-9, atol=1e-12)
        assert missed == pytest.approx(0.5 * h * TOTAL, rel=h)
    ratios = [a / b for a, b in zip(found[:-1], found[1:], strict=True)]
    assert ratios == pytest.approx([2**0.5] * 2, rel=0.05)
