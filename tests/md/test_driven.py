"""OpenMM on a given Brownian path: equal to a plain integration, and of the order it should be."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.md.build import build
from molflow.md.driven import DrivenDynamics
from molflow.md.energies import EnergyWorkers
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.loop import integrate, uniform_times
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")
TEMPERATURE, FRICTION = 320.0, 3.0


@dataclass(frozen=True)
class Walk:
    """A start, a path and the equation with OpenMM's forces."""

    sde: UnderdampedLangevin
    x: torch.Tensor
    path: BrownianPath

    def features(self, steps):
        """What the path says of each of some equal steps, for one molecule."""
        times = uniform_times(self.path, steps)
        found = {"W": [], "E1": [], "E2": []}
        for s, t in zip(times[:-1], times[1:], strict=True):
            increment = self.path.increment(s, t)
            both = self.sde.martingale(s, t, increment) / self.sde.sigma
            values = increment.increment, both[:, 1], both[:, 0]
            for name, value in zip(found, values, strict=True):
                found[name].append(value[0].numpy())
        return {name: np.array(values) for name, values in found.items()}

    def driven(self, scheme, steps):
        step = (self.path.t1 - self.path.t0) / steps
        dynamics = DrivenDynamics(SYSTEM, scheme, step, TEMPERATURE, FRICTION)
        return np.stack(dynamics.walk(*self.x[0].numpy(), self.features(steps)))


@pytest.fixture(scope="module")
def walk():
    workers = EnergyWorkers(SYSTEM, jobs=1)

    def force(positions):
        return torch.from_numpy(workers.evaluate(positions.numpy(), forces=True).forces)

    built, _ = build(SYSTEM)
    masses = [built.getParticleMass(i)._value for i in range(22)]
    masses = torch.tensor(masses, dtype=torch.float64)
    sde = UnderdampedLangevin(force, masses, FRICTION, TEMPERATURE)
    path = BrownianPath(sde.basis(2), 0.0, 0.016, (1, 22, 3), seed=1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    positions = torch.from_numpy(SYSTEM.start_positions()).double()
    velocities = torch.randn(22, 3, generator=generator, dtype=torch.float64)
    x = torch.stack([positions, velocities])[None]
    return Walk(sde, x, path)


def bub(sde, x, s, t, increment):
    """Half a kick, free motion with the exact noise, half a kick."""
    h = t - s
    half = 0.5 * h * sde.force(x[:, 0]) / sde.masses
    x = torch.stack([x[:, 0], x[:, 1] + half], dim=1)
    x = sde.apply(s, t, x, torch.zeros_like(x), increment)
    half = 0.5 * h * sde.force(x[:, 0]) / sde.masses
    return torch.stack([x[:, 0], x[:, 1] + half], dim=1)


@pytest.mark.parametrize("scheme", ["euler_maruyama", "baoab", "bub"])
def test_it_reproduces_a_plain_integration_of_the_path(walk, scheme):
    sde = walk.sde
    step = {
        "euler_maruyama": lambda s, t, x, i: euler_maruyama_step(sde, sde.nonlinear, s, t, x, i),
        "baoab": lambda s, t, x, i: baoab_step(sde, s, t, x, i),
        "bub": lambda s, t, x, i: bub(sde, x, s, t, i),
    }[scheme]
    expected = integrate(step, walk.x, walk.path, uniform_times(walk.path, 32))[0].numpy()
    found = walk.driven(scheme, 32)
    assert np.abs(found - walk.x[0].numpy()).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_orders_along_a_path(walk):
    fine = walk.driven("bub", 512)
    for scheme, order, coarse in (("bub", 2, 32), ("baoab", 1, 32), ("euler_maruyama", 1, 64)):
        errors = [
            np.sqrt(np.mean((walk.driven(scheme, n) - fine) ** 2, axis=(1, 2)))
            for n in (coarse, 2 * coarse)
        ]
        found = np.log2(errors[0] / errors[1])  # of positions and of velocities
        np.testing.assert_allclose(found, order, atol=0.3, err_msg=scheme)


def test_what_it_refuses(walk):
    with pytest.raises(MolflowError, match="scheme is 'verlet'"):
        DrivenDynamics(SYSTEM, "verlet", 0.001)
    with pytest.raises(MolflowError, match="friction is -1"):
        DrivenDynamics(SYSTEM, "baoab", 0.001, friction=-1.0)
    with pytest.raises(MolflowError, match="12 constraints and 0 virtual sites"):
        DrivenDynamics(SYSTEM.model_copy(update={"constraints": "HBonds"}), "baoab", 0.001)
    with pytest.raises(MolflowError, match="keeps only some atoms"):
        DrivenDynamics(load_system("alanine_dipeptide:heavy"), "baoab", 0.001)
    dynamics, none = DrivenDynamics(SYSTEM, "baoab", 0.001), np.zeros((2, 22, 3))
    with pytest.raises(MolflowError, match="needs E1"):
        dynamics.walk(*walk.x[0].numpy(), {"W": none})
    with pytest.raises(MolflowError, match=r"E1 of the path has the shape \(2, 21, 3\)"):
        dynamics.walk(*walk.x[0].numpy(), {"E1": none[:, 1:]})
    with pytest.raises(MolflowError, match="blew up"):
        dynamics.walk(*walk.x[0].numpy(), {"E1": none + np.nan})
