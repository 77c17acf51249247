"""BAOAB: kicks, drifts and an exact friction, driven by a given path."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.sde.base import exponential_feature
from molflow.sde.underdamped import UnderdampedLangevin


def baoab_step(
    sde: UnderdampedLangevin, s: Tensor, t: Tensor, x: Tensor, increment: Increment
) -> Tensor:
    r"""Return the state after half a kick, half a drift, friction, half a drift, half a kick.

    Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34. The friction step draws nothing:
    v becomes q v + σ E₁ with E₁ = ∫ exp(−γ (t − u)) dW_u of the path. Averages converge with the
    square of the step; pathwise the scheme is of order 1, because positions see E₁ only through
    half a drift.

    Parameters
    ----------
    x : Tensor, (B, 2, atoms, dimension)
        Positions and velocities.
    increment : Increment
        In a basis with the rate γ.
    """
    h = increment.h.to(x.dtype)
    if h.ndim:
        h = h[:, None, None]
    position, velocity = x[:, 0], x[:, 1]
    velocity = velocity + 0.5 * h * sde.force(position) / sde.masses
    position = position + 0.5 * h * velocity
    kick = sde.sigma * exponential_feature(increment, sde.friction)
    velocity = torch.exp(-sde.friction * h) * velocity + kick
    position = position + 0.5 * h * velocity
    velocity = velocity + 0.5 * h * sde.force(position) / sde.masses
    return torch.stack([position, velocity], dim=1)
