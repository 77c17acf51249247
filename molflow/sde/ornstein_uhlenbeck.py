"""A linear equation whose strong solution is known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, exponential_feature, time_tensor


@dataclass(frozen=True)
class OrnsteinUhlenbeck(AdditiveSDE):
    """dX = rate (mean - X) dt + diffusion dW; stationary law N(mean, diffusion^2 / (2 rate)).

    Parameters
    ----------
    rate : float
        Positive, per unit of time.
    diffusion : float
        Not negative.
    mean : float
    """

    rate: float = 1.0
    diffusion: float = math.sqrt(2.0)
    mean: float = 0.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.diffusion >= 0):
            raise MolflowError(
                f"rate is {self.rate} and diffusion {self.diffusion}: "
                "the rate must be positive, the diffusion coefficient not negative."
            )

    def basis(self, order: int) -> Basis:
        """Return the basis in which the strong solution is exact."""
        return Basis(order, (self.rate,))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = time_tensor(t)
        pull = self.rate + 0.0 * t
        return -pull, pull, self.diffusion + 0.0 * t

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = mean, (B, *shape)."""
        return torch.full_like(x, self.mean)

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.exp(-self.rate * (time_tensor(t) - time_tensor(s)))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        return -torch.expm1(-self.rate * (time_tensor(t) - time_tensor(s)))

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        return self.diffusion * exponential_feature(increment, self.rate)

    def exact(self, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
        """Return X_t from X_s = x, (B, *shape), on the path of the increment."""
        return self.apply(s, t, x, self.nonlinear(s, x), increment)
