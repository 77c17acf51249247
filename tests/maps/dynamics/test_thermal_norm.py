"""The measure of mean forces against what an error does to the end of a step."""

import pytest
import torch
from langevin_maps import SCALES, random_dynamics, thermal_state

from molflow.brownian.increment import sample_increment
from molflow.maps.dynamics.thermal_norm import ThermalNorm
from molflow.units import thermal_energy

FORCES = torch.tensor(SCALES.forces).double()[:, None]
MASSES = torch.tensor(SCALES.masses).double()[:, None]
ENERGY = thermal_energy(SCALES.temperature)


def measured(kind, h, error):
    flow_map = random_dynamics(kind).at(300.0, 1e-3 if kind == "langevin" else 2.0)
    lags = torch.full((len(error),), h, dtype=torch.float64)
    return flow_map, ThermalNorm(flow_map, lags)(error, error, torch.zeros_like(lags))


@pytest.mark.parametrize("kind", ["langevin", "overdamped"])
def test_of_a_short_step_it_is_the_relative_error_of_the_force(kind):
    force = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    error = random_dynamics(kind).constant(100.0 * force)
    _, found = measured(kind, 0.0, error)
    assert torch.allclose(found, (100.0 * force / FORCES).square().mean(dim=(1, 2)), rtol=1e-12)


def test_of_a_long_step_it_is_the_error_of_the_end_in_thermal_units():
    x, generator = thermal_state("langevin", 4)
    error = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    h = 0.04
    flow_map, found = measured("langevin", h, error)
    s, t = torch.zeros(4).double(), torch.full((4,), h, dtype=torch.float64)
    increment = sample_increment(flow_map.basis, t, (4, 5, 3), generator, torch.float64)
    ends = [flow_map.sde.apply(s, t, x, n, increment) for n in (torch.zeros_like(x), error)]
    moved, kicked = (ends[1] - ends[0]).unbind(1)
    width = ENERGY / FORCES  # of a spring of stiffness f²/kT
    thermal = torch.sqrt(ENERGY / MASSES)
    at_end = torch.stack([moved / width, kicked / thermal], dim=1)
    by_force = error * MASSES / FORCES
    expected = (at_end.square() + by_force.square()).mean(dim=(1, 2, 3))
    assert torch.allclose(found, expected, rtol=1e-4)


def test_overdamped_it_is_the_error_of_the_end_too():
    x, generator = thermal_state("overdamped", 4)
    error = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    h = 0.03
    flow_map, found = measured("overdamped", h, error)
    moved = error * h / (MASSES * 2.0) / (ENERGY / FORCES)
    expected = (moved.square() + (error / FORCES).square()).mean(dim=(1, 2))
    assert torch.allclose(found, expected, rtol=1e-9)
