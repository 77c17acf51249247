"""Exponential Euler: the linear part and the noise exact, the rest frozen at the start."""

from __future__ import annotations

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import AdditiveSDE, Nonlinear


def exponential_euler_step(
    sde: AdditiveSDE,
    nonlinear: Nonlinear,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    """Return X_t with n(s, x) kept over the step; x is (B, *shape)."""
    return sde.apply(s, t, x, nonlinear(s, x), increment)
