"""A molecule on springs between all its atoms, and its exact map given N coefficients."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.sde.harmonic import HarmonicMode
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.systems import load_system
from molflow.units import thermal_energy

SYSTEM = load_system("alanine_dipeptide")
REST = torch.from_numpy(SYSTEM.start_positions()).double()
MASS, PERIOD = 12.0, 0.02


class HarmonicMap(FlowMap):
    """E[X_t | x, coefficients] under F = -m ω² (x - rest), less its mean over atoms.

    Atoms are equally heavy, so that every motion but that of the centre is one and the same
    `HarmonicMode`, and the centre is free.

    Parameters
    ----------
    order : int
    temperature, friction : float
        K and 1/ps.
    longest_lag : float
        ps.
    """

    def __init__(self, order=4, temperature=300.0, friction=5.0, longest_lag=0.04):
        super().__init__()
        self.order, self.longest_lag = order, longest_lag
        self.temperature, self.friction = temperature, friction
        self.mode = HarmonicMode(PERIOD, friction)
        masses = torch.full((len(REST),), MASS, dtype=torch.float64)
        self.sde = UnderdampedLangevin(self.force, masses, friction, temperature)
        self.basis = self.sde.basis(order)
        self.width = math.sqrt(thermal_energy(temperature) / MASS)
        self.calls = 0
        # Zero: maps have parameters, whose precision and device the states take.
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def at(self, temperature, friction):
        return HarmonicMap(self.order, temperature, friction, self.longest_lag)

    def force(self, positions):
        away = positions - REST
        return -MASS * self.mode.frequency**2 * (away - away.mean(dim=1, keepdim=True))

    def mean(self, s, t, x, whitened):
        self.calls += 1
        like, x, whitened = x, x.double(), whitened.double()
        h = t - s
        increment = Increment.from_whitened(self.basis, h, whitened)
        centre = torch.tensor([1.0, 0.0])[:, None, None].to(x) * REST.mean(dim=0)
        rest = torch.stack([REST, torch.zeros_like(REST)])
        middle = x.mean(dim=2, keepdim=True)
        away = (x - middle - (rest - centre)).movedim(1, -1)
        features = increment.features - increment.features.mean(dim=1, keepdim=True)
        noise = Increment(self.basis, h, features)
        end = self.mode.step(away / self.width, noise).movedim(-1, 1) * self.width
        free = self.sde.apply(s, h, x - middle, torch.zeros_like(x), noise)
        gain = torch.diagonal(self.sde.gain(s, t), dim1=-2, dim2=-1)[:, None, None]
        return ((end + rest - centre - free) / gain).to(like) + self.shift


def thermal_state(flow_map, chains, seed=0):
    """States of the map's own stationary law at its temperature, (chains, 2, atoms, 3)."""
    rng = np.random.default_rng(seed)
    normal = torch.from_numpy(rng.normal(size=(chains, 2, len(REST), 3)))
    scale = flow_map.width * torch.tensor([1 / flow_map.mode.frequency, 1.0])[:, None, None]
    centred = normal - normal.mean(dim=2, keepdim=True)
    x = scale.double() * centred
    x[:, 0] += REST
    return x
