"""The reversal of a variance-exploding diffusion, walked at a constant rate in log sigma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.exponential import projection
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, exponential_feature, over_batch, time_tensor


@dataclass(frozen=True)
class ReverseDiffusion(AdditiveSDE):
    """From noise of width `sigma_max` to data with noise of width `sigma_min`.

    x = x_0 + sigma eps, sigma(t) = sigma_max exp(-t), generation walks forward from t = 0 to
    `duration`. In this clock the reversed equation has constant coefficients,
    dX = (1 + eta^2) (D - X) dt + sqrt(2) eta sigma(t) dW, D = E[x_0 | x, sigma], so that
    Phi = exp(-(1 + eta^2)(t - s)) and M = sqrt(2) eta sigma(t) F_p with p = eta^2.

    Parameters
    ----------
    sigma_max, sigma_min : float
        In the units of the (scaled) data; sigma_max > sigma_min > 0.
    eta : float
        1 is the ancestral step, 0 the deterministic map.
    """

    sigma_max: float = 10.0
    sigma_min: float = 0.002
    eta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise MolflowError(
                f"sigma runs from {self.sigma_max} to {self.sigma_min}: "
                "give finite widths, sigma_max > sigma_min > 0."
            )
        if not 0 <= self.eta < math.inf:
            raise MolflowError(f"eta is {self.eta}: give a number that is not negative.")

    @property
    def duration(self) -> float:
        """ln(sigma_max / sigma_min), the last time."""
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return the width of the noise at time t, in the shape of t."""
        return self.sigma_max * torch.exp(-time_tensor(t))

    def time(self, sigma: Tensor | float) -> Tensor:
        """Return the time at which the noise has width sigma."""
        return math.log(self.sigma_max) - torch.log(time_tensor(sigma))

    def basis(self, order: int) -> Basis:
        """Return the basis in which the martingale is exact."""
        return Basis(order, (self.eta**2,) if self.eta else ())

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigma = self.sigma(t)
        pull = torch.full_like(sigma, 1.0 + self.eta**2)
        return -pull, pull, math.sqrt(2.0) * self.eta * sigma

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.exp(-(1.0 + self.eta**2) * (time_tensor(t) - time_tensor(s)))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        return -torch.expm1(-(1.0 + self.eta**2) * (time_tensor(t) - time_tensor(s)))

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        if not self.eta:
            return torch.zeros_like(increment.increment)
        feature = exponential_feature(increment, self.eta**2)
        return over_batch(self.rates(t)[2], feature) * feature

    def martingale_projection(self, s: Tensor, t: Tensor, order: int) -> Tensor:
        """Return c_n with E[M | I^0..I^{order-1}] = sum_n c_n I^n; (..., order) float64."""
        s, t = time_tensor(s), time_tensor(t)
        return self.rates(t)[2].double()[..., None] * projection(self.eta**2 * (t - s), order)
