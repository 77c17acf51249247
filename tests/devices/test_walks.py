"""Walks on a device: nothing is read from it and nothing waits for it in a step."""


import pytest
import torch
from counting import DEVICE, counted
from langevin_maps import random_dynamics, thermal_state
from toy_maps import GRAPH, random_map

from molflow.brownian.path import BrownianPath
from molflow.brownian.walk import end_of, timed, walk
from molflow.devices import upload
from molflow.errors import MolflowError
from molflow.maps.denoiser.draw import BLOCK, draw_blocks
from molflow.maps.langevin import bonded_flow_map, step_plan
from molflow.maps.langevin.residual_noise import ResidualNoise, frame_neighbours
from molflow.propagation.motion import Motion
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.sde.matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck

KINDS = ["langevin", "overdamped", "bonded"]


def test_the_counter_sees_what_waits():
    x = torch.ones(3, device=DEVICE)
    with counted() as trips:
        assert bool((x > 0).all())
        x.cpu(), x.sum().item()
        x + torch.ones(3).to(DEVICE)
        x + upload(torch.ones(3), DEVICE)
        x * torch.tensor(2.0)
        x[torch.tensor([0])]
    assert (trips.read.total(), trips.blocking.total(), trips.sent.total()) == (3, 2, 1)
    with pytest.raises(AssertionError, match="arrays of both sides"), counted():
        torch.ones(2, 2) @ torch.ones(2, 2, device=DEVICE)


@pytest.mark.parametrize("steps", [1, 5])
def test_sampling_reads_nothing_and_sends_a_path_a_step(steps):
    flow_map = random_map().to(DEVICE)
    with torch.no_grad(), counted() as trips:
        found = draw_blocks(flow_map, range(2), steps, 0, GRAPH.n_atoms)
    assert found.device == DEVICE and found.shape == (2 * BLOCK, GRAPH.n_atoms, 3)
    assert not trips.read and not trips.blocking
    # The start, and for each step the whitened features and twice what makes features of them.
    assert trips.sent.total() == 1 + 3 * steps


@pytest.mark.parametrize("kind", KINDS)
def test_propagation_reads_nothing(monkeypatch, kind):
    monkeypatch.setattr(step_plan, "SUBSTEP", 0.1)  # few of them
    flow_map = random_dynamics(kind).to(DEVICE).at(350.0, 3.0)
    assert {value.device for value in flow_map.buffers()} == {DEVICE}
    x = thermal_state(kind, 3)[0].to(DEVICE)
    paths, motion = ChainPaths(flow_map.basis, 3, 5, 0), Motion(flow_map, batch_size=2)
    motion.walk(x, paths, 0.0, 0.0025, 1)  # what is kept for later steps
    counts = []
    for steps in (1, 2):
        with counted() as trips:
            found = motion.walk(x, paths, 0.02, 0.0025 * steps, steps)
        assert found.device == DEVICE and found.dtype == torch.float64
        assert not trips.read and not trips.blocking
        counts.append(trips.sent.total())
    assert counts[1] == 2 * counts[0] and counts[0] <= 12


def test_residual_noise_reads_nothing():
    flow_map = random_dynamics("langevin").to(DEVICE)
    neighbours, covariance = frame_neighbours(GRAPH), torch.eye(30).double()[None]
    masses = torch.ones(5).double()
    noise = ResidualNoise(0.02, covariance, covariance, neighbours, masses, 300.0)
    motion = Motion(flow_map, residuals=ChainResiduals(noise, 300.0, 2.0, 0))
    x, paths = thermal_state("langevin", 3)[0].to(DEVICE), ChainPaths(flow_map.basis, 3, 5, 0)
    motion.walk(x, paths, 0.0, 0.02, 1)
    with counted() as trips:
        motion.walk(x, paths, 0.02, 0.04, 2)
    assert not trips.read and not trips.blocking


def test_a_step_of_a_given_length_is_a_step(monkeypatch):
    monkeypatch.setattr(bonded_flow_map, "COARSE", 1.0)
    for kind in KINDS:
        flow_map = random_dynamics(kind)
        x, generator = thermal_state(kind, 4)
        z = torch.randn(4, 5, 3, flow_map.basis.size, generator=generator, dtype=torch.float64)
        h = torch.full((4,), 0.0137, dtype=torch.float64)
        planned = flow_map.planned_mean(0.0, 0.0137, x, z)
        expected = flow_map.mean(0 * h, h, x, z)
        assert (planned - expected).abs().max() < 1e-12 * expected.abs().max()
    with pytest.raises(MolflowError, match="the lag is 41 fs"):
        flow_map.planned_mean(0.0, 0.041, x, z)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_in_another_state_shares_its_numbers(kind):
    flow_map = random_dynamics(kind)
    before = flow_map.temperature, flow_map.friction, flow_map.sde, flow_map.basis
    other = flow_map.at(350.0, 3.0)
    assert (flow_map.temperature, flow_map.friction, flow_map.sde, flow_map.basis) == before
    assert other.network is flow_map.network and other.root_masses is flow_map.root_masses
    assert other.sde.force.__self__ is other
    # The equation follows its own map only, and keeps its precision.
    other.float()
    assert other.sde.constants.masses.dtype == torch.float64
    fresh = type(flow_map)(flow_map.network, flow_map.scales, flow_map.order, 350.0, 3.0)
    for name, value in fresh.sde.constants.named_buffers():
        assert torch.equal(other.sde.constants.get_buffer(name), value)
    assert set(flow_map.state_dict()) == set(fresh.state_dict())
    assert all(name.startswith("network.") for name in flow_map.state_dict())


def test_an_equation_alone_follows_to_a_device():
    pull = torch.tensor([[1.5, -0.7], [-0.2, 0.6]], dtype=torch.float64)
    sde = MatrixOrnsteinUhlenbeck(pull, torch.eye(2).double(), torch.zeros(2).double())
    sde.constants.to(DEVICE)
    x = torch.zeros(4, 2, dtype=torch.float64, device=DEVICE)
    path = BrownianPath(sde.basis(2), 0.0, 1.0, (4, 2), 0, dtype=torch.float64, device=DEVICE)

    def step(s, t, x, increment):
        return sde.apply(s, t, x, sde.nonlinear(s, x), increment)

    with counted() as trips:
        assert end_of(walk(timed(step), x, path, [0.0, 0.5, 1.0])).device == DEVICE
    assert not trips.read and not trips.blocking
