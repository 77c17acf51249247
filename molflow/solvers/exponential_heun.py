"""Exponential Heun: the linear part and the noise exact, the rest averaged over both ends."""

from __future__ import annotations

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import AdditiveSDE, Nonlinear


def exponential_heun_step(
    sde: AdditiveSDE,
    nonlinear: Nonlinear,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    """Return X_t by two evaluations of n, the second where an exponential Euler step ends.

    Order 2 for an equation without noise (Hochbruck and Ostermann, Acta Numerica 19, 209 (2010),
    eq. 2.40 with equal weights), strong order 1 with noise. x is (B, *shape).
    """
    early = nonlinear(s, x)
    late = nonlinear(t, sde.apply(s, t, x, early, increment))
    return sde.apply(s, t, x, 0.5 * (early + late), increment)
