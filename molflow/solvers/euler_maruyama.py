"""Euler-Maruyama: drift and diffusion coefficient frozen at the start of the step."""

from __future__ import annotations

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import AdditiveSDE, Nonlinear, over_batch


def euler_maruyama_step(
    sde: AdditiveSDE,
    nonlinear: Nonlinear,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    """Return x + drift h + g(s) I^0; x is (B, *shape), nonlinear(s, x) gives n."""
    drift = sde.drift(s, x, nonlinear(s, x))
    return x + over_batch(increment.h, x) * drift + sde.noise(s, increment.increment)
