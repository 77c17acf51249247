"""Paths without end, and steps whose exact answers are known."""

import numpy as np
import pytest
import torch
from harmonic_map import MASS, REST, HarmonicMap, thermal_state

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import WINDOW, ChainPaths, steps_between_frames
from molflow.units import thermal_energy

BASIS = Basis(4, (5.0,))


def test_a_path_is_one_path_however_it_is_asked():
    path = ChainPaths(BASIS, 3, 2, seed=1)
    whole = path.increment(0.013, 0.27)
    parts = [(0.013, 0.02), (0.02, 0.1), (0.1, 0.133), (0.133, 0.27)]
    other = ChainPaths(BASIS, 3, 2, seed=1)
    pieces = {ends: other.increment(*ends) for ends in reversed(parts)}
    joined = pieces[parts[0]]
    for ends in parts[1:]:
        joined = join(joined, pieces[ends])
    torch.testing.assert_close(joined.features, whole.features, rtol=0, atol=1e-12)
    assert float(whole.h) == pytest.approx(0.257, abs=2e-6)
    many = ChainPaths(BASIS, 8, 2, seed=1).increment(0.013, 0.27)
    torch.testing.assert_close(many.features[:3], whole.features, rtol=0, atol=1e-12)
    assert not torch.allclose(
        ChainPaths(BASIS, 3, 2, seed=2).increment(0.013, 0.27).features, whole.features
    )


def test_increments_have_the_law_of_brownian_motion():
    path = ChainPaths(BASIS, 400, 5, seed=3)
    z = torch.stack([path.increment(1e4 + k * 0.05, 1e4 + (k + 1) * 0.05).whitened()
                     for k in range(8)])  # fmt: skip
    flat = z.movedim(0, -2).reshape(-1, 8 * BASIS.size)
    covariance = flat.T @ flat / len(flat)
    # The largest of 820 deviations of standard deviation 1/sqrt(6000).
    torch.testing.assert_close(
        covariance, torch.eye(8 * BASIS.size).double(), rtol=0, atol=4.5 / 6000**0.5
    )


def test_times_that_are_no_step_are_refused():
    with pytest.raises(MolflowError, match="from 1.0 ps to 1.0 ps"):
        ChainPaths(BASIS, 1, 1, 0).increment(1.0, 1.0)
    with pytest.raises(MolflowError, match="times begin at 0"):
        ChainPaths(BASIS, 1, 1, 0).increment(-WINDOW, 1.0)


def test_steps_between_frames_are_no_longer_than_the_lag():
    assert steps_between_frames(1.0, 0.02) == 50
    assert steps_between_frames(1.0, 0.015) == 67
    assert steps_between_frames(0.001, 0.02) == 1


def test_a_step_is_that_of_the_map_wherever_the_molecule_is():
    flow_map = HarmonicMap()
    x = thermal_state(flow_map, 5)
    x[:, 0] += torch.linspace(-1, 1, 5)[:, None, None]
    increment = sample_increment(
        flow_map.basis, 0.02, (5, 22, 3), torch.Generator().manual_seed(0), torch.float64
    )
    ends = torch.tensor([0.0, 0.02], dtype=torch.float64)
    expected = flow_map(*ends, x, increment)
    found = Motion(flow_map, batch_size=2).step(x, increment)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    far = x.clone()
    far[:, 0] += 1e4
    moved = Motion(flow_map).step(far, increment)
    torch.testing.assert_close(moved[:, 0] - 1e4, found[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(moved[:, 1], found[:, 1], rtol=0, atol=1e-6)
    half = Motion(HarmonicMap().float()).step(far, increment)
    # Single precision of the network alone: positions 10 micrometres away keep their digits.
    torch.testing.assert_close(half[:, 0], moved[:, 0], rtol=0, atol=1e-6)


def test_chains_settle_where_the_cooling_law_says():
    flow_map = HarmonicMap(order=4)
    h = 0.025  # 1.25 periods
    paths = ChainPaths(flow_map.basis, 40, 22, seed=0)
    x, squares = thermal_state(flow_map, 40), []

    def look(t, x):
        if t > 1.0:
            away = x - x.mean(dim=2, keepdim=True)
            away[:, 0] -= REST - REST.mean(dim=0)
            squares.append(away.square().mean(dim=(0, 2, 3)) * 22 / 21)
        return x

    Motion(flow_map).walk(x, paths, 0.0, 3.0, round(3.0 / h), look)
    found = torch.stack(squares).mean(dim=0) / flow_map.width**2
    position, velocity = flow_map.mode.temperatures(h, 4)
    assert velocity < 0.95
    assert float(found[1]) == pytest.approx(velocity, rel=0.025)
    assert float(found[0] * flow_map.mode.frequency**2) == pytest.approx(position, rel=0.025)


def test_the_same_path_at_two_lags():
    """With coefficients enough the map is exact, and the lag does not matter."""
    flow_map = HarmonicMap(order=12)
    ends = []
    for steps in (10, 40):
        paths = ChainPaths(flow_map.basis, 4, 22, seed=5)
        ends.append(Motion(flow_map).walk(thermal_state(flow_map, 4), paths, 0.0, 0.2, steps))
    other = Motion(flow_map).walk(
        thermal_state(flow_map, 4), ChainPaths(flow_map.basis, 4, 22, seed=6), 0.0, 0.2, 10
    )
    size = (ends[0] - other)[:, 1].square().mean().sqrt()
    assert (ends[0] - ends[1])[:, 1].square().mean().sqrt() < 1e-3 * size


def test_velocities_at_the_start_are_thermal():
    flow_map = HarmonicMap(temperature=350.0)
    x = start_state(flow_map, np.broadcast_to(REST.numpy(), (500, 22, 3)), seed=1)
    width = (thermal_energy(350.0) / MASS) ** 0.5
    assert float(x[:, 1].std()) == pytest.approx(width, rel=0.015)
    few = start_state(flow_map, np.broadcast_to(REST.numpy(), (7, 22, 3)), seed=1)
    torch.testing.assert_close(few, x[:7], rtol=0, atol=0)
