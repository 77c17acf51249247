"""The map of any equation with any network, and the objectives on it at one time for all."""

import pytest
import torch
from linear_maps import nonlinear
from torch import nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.path import BrownianPath
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import (
    direct_residual,
    euler_matching_residual,
    matching_residual,
)
from molflow.objectives.semigroup import composed_mean, semigroup_residual
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.sde.overdamped import OverdampedLangevin
from molflow.solvers.loop import integrate, uniform_times

SDE = OrnsteinUhlenbeck(1.7, 0.8, 0.3)
BASIS = SDE.basis(2)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(2 + 2 * (1 + BASIS.size), 2).double()

    def forward(self, s, t, x, z):
        return self.layer(torch.cat([s[:, None], t[:, None], x, z.flatten(1)], dim=1)).tanh()


def problem(h):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    parts = [sample_increment(BASIS, h, (6, 2), generator, torch.float64) for _ in range(2)]
    return LiftedFlowMap(Network(), SDE, BASIS), x, *parts


OBJECTIVES = {
    "forward": lambda f, s, u, t, x, one, two: f(s, u, x, one),
    "matching": lambda f, s, u, t, x, one, two: matching_residual(f, s, x, x),
    "euler": lambda f, s, u, t, x, one, two: euler_matching_residual(f, s, u, x, one, x),
    "direct": lambda f, s, u, t, x, one, two: direct_residual(f, s, u, x, one, x),
    "semigroup": lambda f, s, u, t, x, one, two: semigroup_residual(f, f, s, u, t, x, one, two),
    "lagrangian": lambda f, s, u, t, x, one, two: lagrangian_residual(f, nonlinear, s, u, x, one),
    "eulerian": lambda f, s, u, t, x, one, two: eulerian_residual(f, s, u, x, x, one),
    "mean_flow": lambda f, s, u, t, x, one, two: mean_flow_residual(f, s, u, x, x, one),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_time_for_all_is_that_time_for_each(name):
    s, h = torch.tensor(0.4, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    flow_map, x, *parts = problem(h)
    once = OBJECTIVES[name](flow_map, s, s + h, s + 2 * h, x, *parts)
    many = s.expand(6), (s + h).expand(6), (s + 2 * h).expand(6)
    parts = [Increment.from_whitened(BASIS, h.expand(6), part.whitened()) for part in parts]
    each = OBJECTIVES[name](flow_map, *many, x, *parts)
    assert once.shape[0] == 6 and once.abs().min() > 0
    assert torch.allclose(once, each, rtol=1e-12, atol=1e-14)


def test_a_map_is_walked_by_the_loop_of_the_solvers():
    """The frozen map is one exponential Euler step: exact where n is constant."""
    path = BrownianPath(BASIS, 0.0, 2.0, (6, 2), 0, dtype=torch.float64)
    x = torch.ones(6, 2, dtype=torch.float64)
    flow_map = FrozenFlowMap(SDE.nonlinear, SDE, BASIS)
    ends = [integrate(flow_map, x, path, uniform_times(path, k)) for k in (1, 16)]
    assert (ends[0] - ends[1]).abs().max() < 1e-12
    network = LiftedFlowMap(Network(), SDE, BASIS)
    assert integrate(network, x, path, uniform_times(path, 4)).shape == (6, 2)


def test_the_network_sees_nothing_of_a_step_of_no_length():
    flow_map, x, increment, _ = problem(torch.tensor(0.7).double())
    s, z = torch.tensor(0.4).double(), increment.whitened()
    assert torch.equal(flow_map.mean(s, s, x, z), flow_map.mean(s, s, x, torch.zeros_like(z)))
    assert (flow_map.mean(s, s + 0.7, x, z) - flow_map.mean(s, s + 0.7, x, 0 * z)).abs().max() > 0


@pytest.mark.parametrize("batch", [3, 4])
def test_two_steps_compose_where_the_gain_differs_between_atoms(batch):
    masses = torch.tensor([12.0, 1.0, 16.0, 14.0, 1.0]).double()
    sde = OverdampedLangevin(lambda x: -x, masses, 1.0, 300.0)
    basis = Basis(2)
    flow_map = FrozenFlowMap(sde.nonlinear, sde, basis)
    generator = torch.Generator().manual_seed(0)
    s = 0.1 * torch.arange(batch).double()
    u, t = s + 0.1, s + 0.25
    shape = (batch, 5, 3)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    parts = [sample_increment(basis, h, shape, generator, torch.float64) for h in (u - s, t - u)]
    mean = composed_mean(flow_map, flow_map, s, u, t, x, *parts)
    whole = parts[0].increment + parts[1].increment
    in_one = x + sde.gain(s, t) * mean + sde.diffusion * whole
    in_two = flow_map(u, t, flow_map(s, u, x, parts[0]), parts[1])
    assert (in_one - in_two).abs().max() < 1e-12
