"""A spring under Langevin dynamics, damped so much that its strong solution is in the features."""

from __future__ import annotations

import math

import torch
from torch import nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.sde.base import act
from molflow.sde.underdamped import UnderdampedLangevin

FRICTION, STIFFNESS = 5.0, 4.0
MASSES = torch.tensor([1.0, 1.0], dtype=torch.float64)
#: κ² − γκ + k/m = 0: the rates at which the spring relaxes.
ROOT = math.sqrt(FRICTION**2 / 4 - STIFFNESS)
RATES = (FRICTION / 2 - ROOT, FRICTION / 2 + ROOT)


class LinearLangevin(FlowMap):
    """The exact map of F = −k x for atoms of mass 1, in the features of all three rates.

    Parameters
    ----------
    order : int
    error : float
        Added in proportion to the state; zero is the exact map.
    """

    def __init__(self, order: int = 2, error: float = 0.0):
        super().__init__()
        self.sde = UnderdampedLangevin(lambda x: -STIFFNESS * x, MASSES, FRICTION, 300.0)
        self.basis = Basis(order, (FRICTION, *RATES))
        self.error = nn.Parameter(torch.tensor(error, dtype=torch.float64))

    def end(self, s, t, x, increment):
        """X_t = exp(A h) x + Σ_i V_i (V⁻¹)_i2 σ F_κi, with exp(A h) from its eigenvectors."""
        h = t - s
        values = [torch.exp(-rate * h) for rate in RATES]
        # A (1, −κ) = −κ (1, −κ)
        vectors = torch.tensor([[1.0, 1.0], [-RATES[0], -RATES[1]]], dtype=torch.float64)
        inverse = torch.linalg.inv(vectors)
        whole = vectors * torch.stack(values, dim=-1)[..., None, :] @ inverse
        modes = self.sde.sigma[..., None] * increment.exponentials[..., 1:] * inverse[:, 1]
        return act(whole, x) + torch.einsum("ij,baxj->biax", vectors, modes)

    def mean(self, s, t, x, whitened):
        later = torch.where(t > s, t, s + 0.01)
        increment = Increment.from_whitened(self.basis, later - s, whitened)
        rest = self.end(s, later, x, increment)
        rest = rest - self.sde.apply(s, later, x, torch.zeros_like(x), increment)
        mean = act(torch.linalg.inv(self.sde.gain(s, later)), rest)
        exact = torch.where((t > s).reshape(-1, 1, 1, 1), mean, self.sde.nonlinear(s, x))
        return exact + self.error * x
