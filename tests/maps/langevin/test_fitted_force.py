"""Maps whose forces come from a fitted formula: their motion against other solvers, and files."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from langevin_maps import BONDED, SCALES
from scipy.integrate import solve_ivp
from torch import nn

from molflow.brownian.path import BrownianPath
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin import step_plan
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.known_force import known_force
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.solvers.loop import integrate, uniform_times
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula

#: The chain of five atoms of `BONDED`, anharmonic and coupled.
FORMULA = ValenceFormula(
    bonds=[(0, 1, 0.11, 0.0, 140000.0, -1.5e6, 1.0e7), (0, 2, 0.13, 0.0, 200000.0, -2e6, 1.2e7),
           (2, 3, 0.14, 0.0, 150000.0, -1e6, 8e6), (3, 4, 0.15, 0.0, 125000.0, 0.0, 0.0)],
    angles=[(1, 0, 2, 1.9, 0.0, 200.0, -40.0, 30.0), (0, 2, 3, 2.0, 0.0, 250.0, 0.0, 0.0),
            (2, 3, 4, 2.1, 0.0, 300.0, 20.0, 10.0)],
    torsions=[(1, 0, 2, 3, 4.0, 0.0, 8.0, 0.0), (0, 2, 3, 4, 0.0, 10.0, 0.0, 0.5)],
    couplings=[(0, 1, 9000.0), (1, 2, 6000.0), (1, 5, 600.0), (4, 5, 15.0)],
)  # fmt: skip
CHAIN = torch.tensor(
    [[0.0, 0, 0], [-0.05, 0.1, 0], [0.13, 0, 0], [0.19, 0.12, 0.04], [0.33, 0.13, 0.08]]
).double()


class Silent(nn.Module):
    """A network that says no rest."""

    def forward(self, positions, vectors, s, t):
        return positions.new_zeros(*positions.shape, BondedLangevinFlowMap.outputs)


def fitted_map(order=14):
    return BondedLangevinFlowMap(Silent(), replace(SCALES, bonded=FORMULA), order).double()


def state(batch=3):
    generator = torch.Generator().manual_seed(0)
    x, v = torch.randn(2, batch, 5, 3, generator=generator, dtype=torch.float64)
    return torch.stack([CHAIN + 0.004 * x, 0.6 * v], dim=1)


def test_without_noise_it_is_the_motion_of_the_formula_to_fourth_order(monkeypatch):
    """Against Dormand and Prince's scheme of order 8, with substeps of two lengths."""
    flow_map, x = fitted_map(), state(1)
    force, masses = ValenceForce(FORMULA, 5), np.array(SCALES.masses)[:, None]
    h = 0.012

    def slope(_, y):
        position, velocity = y.reshape(2, 5, 3)
        pull = force(torch.from_numpy(position)[None])[0].numpy() / masses
        return np.concatenate([velocity, pull - SCALES.friction * velocity], axis=None)

    exact = solve_ivp(slope, (0.0, h), x[0].numpy().ravel(), "DOP853", rtol=1e-12, atol=1e-13)
    end = torch.from_numpy(exact.y[:, -1].reshape(2, 5, 3))
    none, t = torch.zeros(1).double(), torch.full((1,), h).double()
    z = torch.zeros(1, 5, 3, flow_map.basis.size).double()
    errors = []
    for substep in (0.001, 0.0005):
        monkeypatch.setattr(step_plan, "SUBSTEP", substep)
        step_plan.plan_equal_steps.cache_clear()
        mean = flow_map.mean(none, t, x, z)
        moved = torch.einsum("ij,bjax->biax", flow_map.sde.lift(none[0], t[0]), x)
        gained = torch.einsum("ij,bjax->biax", flow_map.sde.gain(none[0], t[0]), mean)
        errors.append(float((moved + gained - end)[0, 0].abs().max()))
    step_plan.plan_equal_steps.cache_clear()
    assert errors[0] < 1e-5 and 10.0 < errors[0] / errors[1] < 24.0
    assert (end[0] - x[0, 0]).abs().max() > 5e-3


def test_with_noise_it_follows_the_path_that_drives_a_fine_solver():
    flow_map, x, h = fitted_map(), state(), 0.01
    force, masses = ValenceForce(FORMULA, 5), torch.tensor(SCALES.masses).double()
    sde = UnderdampedLangevin(force, masses, SCALES.friction, SCALES.temperature)
    basis = flow_map.basis
    path = BrownianPath(basis, 0.0, h, (3, 5, 3), 0, dtype=torch.float64)
    fine = integrate(partial(baoab_step, sde), x, path, uniform_times(path, 1024))
    increment = path.increment(0.0, h)
    end = flow_map(torch.zeros(3).double(), torch.full((3,), h).double(), x, increment)
    moved = (fine - x)[:, 0].abs().max()
    assert moved > 5e-3 and (end - fine)[:, 0].abs().max() < 2e-3 * moved
    # Under the harmonic formula it would have gone elsewhere.
    harmonic = BondedLangevinFlowMap(Silent(), replace(SCALES, bonded=BONDED), 14).double()
    other = harmonic(torch.zeros(3).double(), torch.full((3,), h).double(), x, increment)
    assert (other - fine)[:, 0].abs().max() > 20 * (end - fine)[:, 0].abs().max()


def test_scales_with_a_fitted_formula_survive_their_description():
    scales = replace(SCALES, bonded=FORMULA)
    again = LangevinScales.from_dict(json.loads(json.dumps(scales.to_dict())))
    assert again == scales and isinstance(again.bonded, ValenceFormula)


@pytest.mark.parametrize(("formula", "kind"), [(FORMULA, ValenceForce), (BONDED, BondedForce)])
def test_each_formula_has_its_force(formula, kind):
    assert isinstance(known_force(formula, 5), kind)
