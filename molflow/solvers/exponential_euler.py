"""Exponential Euler: the linear part and the noise exact, the rest frozen at the start."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import AdditiveSDE


def exponential_euler_step(
    sde: AdditiveSDE,
    denoiser: Callable[[Tensor, Tensor], Tensor],
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    """Return X_t with the pull point D(s, x) kept over the step; x is (B, *shape)."""
    return sde.apply(s, t, x, denoiser(s, x), increment)
