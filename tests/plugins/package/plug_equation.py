"""An equation: a particle tied by a spring to a corrugated surface.

    dX = −(k X + A sin X) dt + g dW

The spring is linear and solved exactly; n = −A sin X is what a network would learn the mean of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian import Basis, Increment
from molflow.sde import AdditiveSDE
from molflow.sde.base import exponential_feature, time_tensor


@dataclass(frozen=True)
class Corrugated(AdditiveSDE):
    """States are (B, *shape); times are without unit.

    Parameters
    ----------
    spring, height, diffusion : float
        k, A and g.
    """

    spring: float = 0.5
    height: float = 2.0
    diffusion: float = 1.0

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a(t), b(t) and g(t) of dX = (a X + b n) dt + g dW."""
        zero = 0.0 * time_tensor(t)
        return zero - self.spring, zero + 1.0, zero + self.diffusion

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        """Return exp of the integral of a from s to t."""
        return torch.exp(-self.spring * (time_tensor(t) - time_tensor(s)))

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n, what is not solved exactly."""
        return -self.height * torch.sin(x)

    def basis(self, order: int) -> Basis:
        """Return the basis in which the noise of the spring is exact."""
        return Basis(order, (self.spring,))

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        """Return the noise that arrives at t; without this method, its mean by quadrature."""
        return self.diffusion * exponential_feature(increment, self.spring)
