"""η as an input of the network: one map for all of them."""

import math

import numpy as np
import pytest
import torch
from toy_maps import GRAPH, SIZES, state

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserConfig, DenoiserObjectiveConfig
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, without_paths
from molflow.nn.dense_attention import DenseAttention
from molflow.objectives.norm import mean_square
from molflow.objectives.registry import OBJECTIVES
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.training.configuration import load_configuration
from molflow.training.fit import Epoch

SDE = ReverseDiffusion(10.0, 0.002, 0.25)
S, T = torch.tensor([0.5, 3.0, 7.0]).double(), torch.tensor([2.0, 3.1, 8.0]).double()
ORDER = 3


def built(setting: bool) -> DenseAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DenseAttention(GRAPH, ORDER + 1, SDE.duration, **SIZES, setting=setting)
        torch.nn.init.normal_(network.last, std=0.3)
    return network.double().requires_grad_(False)


@pytest.fixture(scope="module")
def told():
    """A map that is told η and makes something of it."""
    network = built(True)
    torch.nn.init.normal_(network.step.of_setting, generator=torch.Generator().manual_seed(1))
    return DenoiserFlowMap(network, SDE, ORDER, etas=(0.0, 1.0))


def inputs(size, seed=1):
    x, z = state(3, GRAPH.n_atoms, size, seed, torch.float64)
    return torch.sqrt(1.0 + SDE.sigma(S) ** 2).reshape(-1, 1, 1) * x, z


def test_at_first_it_is_the_map_that_is_not_told():
    plain, network = built(False), built(True)
    network.load_state_dict(plain.state_dict(), strict=False)
    x, z = inputs(ORDER + 1)
    one = DenoiserFlowMap(plain, SDE, ORDER)
    other = DenoiserFlowMap(network, SDE, ORDER, etas=(0.0, 1.0))
    assert torch.equal(one.mean(S, T, x, z), other.mean(S, T, x, z))


def test_every_eta_has_its_own_equation_and_basis(told):
    other = told.at(1.0)
    assert other.sde.eta == 1.0 and other.basis.rates == (1.0,) and other.network is told.network
    assert told.at(0.25) is told and other.at(0.25).basis == told.basis
    x, z = inputs(ORDER + 1)
    assert (other.mean(S, T, x, z) - told.mean(S, T, x, z)).abs().max() > 1e-3
    # Known exactly: lift and martingale of that η, whatever the network says.
    increment = Increment.from_whitened(other.basis, T - S, z)
    mean = other.mean(S, T, x, z)
    gone = torch.exp(-2.0 * (T - S)).reshape(-1, 1, 1)
    feature = math.sqrt(2.0) * SDE.sigma(T).reshape(-1, 1, 1) * increment.exponentials[..., 0]
    assert torch.allclose(
        other(S, T, x, increment), gone * x + (1.0 - gone) * mean + feature, atol=1e-12
    )


def test_without_stochasticity_no_path_is_seen_and_the_limit_is_reached(told):
    flow = told.at(0.0)
    x, z = inputs(ORDER)
    _, other = inputs(ORDER, seed=2)
    mean = flow.mean(S, T, x, z)
    assert torch.equal(mean, flow.mean(S, T, x, other))
    errors = []
    for eta in (1e-2, 1e-3):
        near = told.at(eta)
        pad = torch.cat([z, z[..., :1]], dim=-1)
        errors.append(float((near.mean(S, T, x, pad) - mean).abs().max()))
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)


def test_the_flow_of_a_map_that_knows_it_is_that_map(told):
    flow_map = without_paths(told)
    assert flow_map.sde.eta == 0.0
    assert without_paths(DenoiserFlowMap(built(False), SDE, ORDER)).sde.eta == 0.25
    times = [0.0, 2.0, 5.0, 8.0]
    x, _ = inputs(ORDER)
    expected = x
    for s, t in zip(times[:-1], times[1:], strict=True):
        ends = (torch.full((3,), end, dtype=torch.float64) for end in (s, t))
        nothing = Increment.from_whitened(
            flow_map.basis, torch.tensor(t - s).double(), x.new_zeros(*x.shape, ORDER)
        )
        expected = flow_map(*ends, expected, nothing)
    assert torch.allclose(ProbabilityFlow(flow_map, times)(x), expected, atol=1e-12)


def batches(etas, seed=3):
    positions = torch.randn(20, GRAPH.n_atoms, 3, generator=torch.Generator().manual_seed(0))
    positions = positions - positions.mean(1, keepdim=True)
    law = TimeLaw(StepClock(SDE.duration), DenoiserObjectiveConfig())
    return StepBatches(
        positions, law, ORDER + 1, 12, [6] * 40, seed, Epoch(0, 0, 40), etas=etas
    )


def test_batches_draw_eta_in_its_range_and_nothing_else_changes():
    plain, drawn = batches(None), batches((0.2, 0.6))
    found = np.array([drawn[k]["eta"] for k in range(40)])
    assert found.min() >= 0.2 and found.max() <= 0.6 and found.std() == pytest.approx(
        0.4 / 12**0.5, rel=0.3
    )
    assert all(torch.equal(plain[2][k], drawn[2][k]) for k in ("clean", "start", "left", "share"))


def test_the_objective_is_that_of_the_map_at_this_eta(told):
    objective = DenoiserObjective(OBJECTIVES["semigroup"], mean_square)
    batch = {
        name: value.double() if isinstance(value, torch.Tensor) else value
        for name, value in batches(None)[0].items()
    }
    there = told.at(0.7)
    expected = objective(there, there, batch)
    found = objective(told, told, batch | {"eta": 0.7})
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.values, other.values)
    assert not torch.equal(objective(told, told, batch)[1].values, expected[1].values)


def test_a_map_knows_only_what_it_has_learned(told):
    with pytest.raises(MolflowError, match="eta is 1.5, and the map has learned 0 to 1"):
        told.at(1.5)
    with pytest.raises(MolflowError, match="eta is nan"):
        told.at(math.nan)
    with pytest.raises(MolflowError, match="has learned 0.25 alone"):
        DenoiserFlowMap(built(False), SDE, ORDER).at(1.0)
    for words, said in (("eta=0", "positive"), ("eta=0.9", "range")):
        with pytest.raises(MolflowError, match=f"with etas it is .*{said}"):
            load_configuration([], [f"map.{words}", "map.etas=[0,0.5]"])
    with pytest.raises(ValueError, match="0 to 1, as"):
        DenoiserConfig(etas=(0.5, 0.5), eta=0.5)
