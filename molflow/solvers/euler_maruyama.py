"""Euler-Maruyama: drift and diffusion coefficient frozen at the start of the step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import AdditiveSDE, over_batch


def euler_maruyama_step(
    sde: AdditiveSDE,
    denoiser: Callable[[Tensor, Tensor], Tensor],
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    """Return x + drift h + g(s) I^0; x is (B, *shape), D = denoiser(s, x)."""
    drift = sde.drift(s, x, denoiser(s, x))
    diffusion = over_batch(sde.rates(s)[1], x)
    return x + over_batch(increment.h, x) * drift + diffusion * increment.increment
