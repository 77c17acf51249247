"""Losses with a derivative, on maps that are wrong, against differences of the whole map."""

import pytest
import torch
from mean_path import MeanPath, difference
from torch import nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import sample_increment
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.sde.base import over_batch
from molflow.sde.double_well import DoubleWell
from molflow.sde.gaussian_path import VariancePreserving
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.sde.reverse_diffusion import ReverseDiffusion

BATCH, STEP = 8, 1e-3
#: Equations, bases, and the first and last time of the steps.
CASES = {
    "ornstein_uhlenbeck": (OrnsteinUhlenbeck(1.7, 0.8, 0.3), Basis(3, (1.7,)), 0.0, 3.0),
    "reverse_diffusion": (ReverseDiffusion(4.0, 0.1), Basis(3, (1.0,)), 0.0, 3.6),
    "two_rates": (ReverseDiffusion(4.0, 0.1), Basis(2, (0.4, 1.0)), 0.0, 3.6),
    "double_well": (DoubleWell(), Basis(4), 0.0, 1.0),
    "variance_preserving": (VariancePreserving(), Basis(3), 0.1, 0.9),
}


class Network(nn.Module):
    """Random, smooth, and seeing everything."""

    def __init__(self, dimension, features):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(2 + dimension * (1 + features), 16), nn.Tanh(), nn.Linear(16, dimension)
            ).double()

    def forward(self, s, t, x, z):
        return self.layers(torch.cat([s[:, None], t[:, None], x, z.flatten(1)], dim=1))


def n(t, x):
    return torch.sin(x) + over_batch(t, x)


@pytest.fixture(params=sorted(CASES))
def problem(request):
    sde, basis, first, last = CASES[request.param]
    generator = torch.Generator().manual_seed(1)
    share = torch.rand(2, BATCH, generator=generator, dtype=torch.float64)
    s = first + 0.2 * (last - first) * (0.1 + share[0])
    t = last - 0.3 * (last - first) * (0.1 + share[1])
    increment = sample_increment(basis, t - s, (BATCH, 2), generator, torch.float64)
    x = torch.randn(BATCH, 2, generator=generator, dtype=torch.float64)
    return LiftedFlowMap(Network(2, basis.size), sde, basis), s, t, x, increment


def test_lagrangian_residual_is_the_error_of_the_motion_of_the_end(problem):
    flow_map, s, t, x, increment = problem
    path, sde = MeanPath(s, t, increment), flow_map.sde
    moved = difference(lambda d: flow_map(s, t + d, x, path.increment(s, t + d)), STEP)
    end = flow_map(s, t, x, increment)
    error = moved - sde.drift(t, end, n(t, end)) - sde.noise(t, path.rate(t))
    expected = (error / over_batch(sde.rates(t)[1], x)).square().mean(1)
    found = lagrangian_residual(flow_map, n, s, t, x, increment)
    assert bool((expected > 1e-5).all())
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


def motion_of_the_start(problem):
    """h/G times the motion of the end while the start moves along the mean path."""
    flow_map, s, t, x, increment = problem
    path, sde = MeanPath(s, t, increment), flow_map.sde
    velocity = sde.drift(s, x, n(s, x)) + sde.noise(s, path.rate(s))
    moved = difference(
        lambda d: flow_map(s + d, t, x + d * velocity, path.increment(s + d, t)), STEP
    )
    return over_batch((t - s) / sde.gain(s, t), x) * moved


def test_eulerian_residual_is_the_motion_of_the_end_with_the_start(problem):
    flow_map, s, t, x, increment = problem
    expected = motion_of_the_start(problem).square().mean(1)
    found = eulerian_residual(flow_map, s, t, x, n(s, x), increment)
    assert bool((expected > 1e-5).all())
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_mean_flow_has_that_residual_and_the_gradient_of_a_fixed_target(problem):
    flow_map, s, t, x, increment = problem
    motion = motion_of_the_start(problem).detach()
    found = mean_flow_residual(flow_map, s, t, x, n(s, x), increment)
    assert torch.allclose(found, motion.square().mean(1), rtol=1e-6, atol=1e-9)
    parameters = list(flow_map.parameters())
    slopes = torch.autograd.grad(found.sum(), parameters)
    mean = flow_map.mean(s, t, x, increment.whitened())
    # d/dn-bar of (n-bar - target)^2 with target = n-bar + motion, averaged over 2 components.
    expected = torch.autograd.grad((-motion * mean).sum(), parameters)
    for one, other in zip(slopes, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_noisy_sample_of_n_leaves_the_gradient_of_mean_flow_alone(problem):
    """On average over the samples; it does not leave that of the Eulerian objective alone."""
    flow_map, s, t, x, increment = problem
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)

    def slope(objective, change):
        loss = objective(flow_map, s, t, x, n(s, x) + change * noise, increment).sum()
        parts = torch.autograd.grad(loss, list(flow_map.parameters()), allow_unused=True)
        return torch.cat([part.flatten() for part in parts if part is not None])

    for objective, bias in ((mean_flow_residual, 0.0), (eulerian_residual, 1.0)):
        exact, up, down = (slope(objective, change) for change in (0.0, 1.0, -1.0))
        error = float((0.5 * (up + down) - exact).abs().max() / exact.abs().max())
        assert error > 1e-3 if bias else error < 1e-11
