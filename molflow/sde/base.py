"""Equations with additive noise, written around their exactly solvable part."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError


class AdditiveSDE(ABC):
    """dX = k(t) (D(t, X) - X) dt + g(t) dW: a pull towards a point D that may depend on X.

    D is the denoiser's output for a reverse diffusion, and the mean for an Ornstein-Uhlenbeck
    process. With Phi(s, t) = exp(-int_s^t k), exactly,
    X_t = Phi x + (1 - Phi) D' + M, where D' is a weighted mean of D along the path and
    M = int_s^t Phi(u, t) g(u) dW_u.

    Times are tensors () or (B,) or numbers; states are (B, *shape).
    """

    @abstractmethod
    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        """Return Phi(s, t), in the shape of the times."""

    @abstractmethod
    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        """Return M over the step, (B, *shape), exactly."""

    @abstractmethod
    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pull k(t) and the diffusion coefficient g(t), in the shape of the times."""

    def apply(
        self, s: Tensor, t: Tensor, x: Tensor, denoised: Tensor, increment: Increment
    ) -> Tensor:
        """Return X_t from X_s = x and the mean of D along the path, `denoised` (B, *shape)."""
        lift = over_batch(self.lift(s, t), x)
        return lift * x + (1.0 - lift) * denoised + self.martingale(s, t, increment)

    def drift(self, t: Tensor, x: Tensor, denoised: Tensor) -> Tensor:
        """Return k(t) (D - x); (B, *shape)."""
        return over_batch(self.rates(t)[0], x) * (denoised - x)


def time_tensor(t: Tensor | float) -> Tensor:
    """Return t as a tensor; a plain number in float64, so that no digit of it is lost."""
    return t if torch.is_tensor(t) else torch.tensor(t, dtype=torch.float64)


def over_batch(value: Tensor | float, x: Tensor) -> Tensor:
    """Give a number, () or (B,) the axes and the dtype of x, (B, *shape)."""
    value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    return value.reshape(value.shape + (1,) * (x.ndim - 1)) if value.ndim else value


def exponential_feature(increment: Increment, rate: float) -> Tensor:
    """Return F_rate of the increment, (B, *shape).

    Raises
    ------
    MolflowError
        If the basis of the increment lacks the rate.
    """
    if rate not in increment.basis.rates:
        raise MolflowError(
            f"The increment has {increment.basis}, but the equation needs the exponential "
            f"feature of rate {rate:g}: take the basis that the equation proposes."
        )
    return increment.exponentials[..., increment.basis.rates.index(rate)]
