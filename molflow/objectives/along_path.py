"""Derivatives of the learned mean when an end of the step moves along the fixed mean path."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.derivatives import path_rate_at_start, whitened_by_end, whitened_by_start
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap


def mean_by_end(
    flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, increment: Increment
) -> tuple[Tensor, Tensor]:
    """Return n̄ and D_t n̄ = ∂_t n̄ + ∂_z n̄ · dz/dt, both (B, *shape).

    The path is the mean one given the features (`molflow.brownian.derivatives`), so h must be
    positive.
    """

    def mean(t: Tensor, z: Tensor) -> Tensor:
        return flow_map.mean(s, t, x, z)

    tangents = torch.ones_like(t), whitened_by_end(increment)
    return torch.func.jvp(mean, _dense(t, increment.whitened()), tangents)[:2]


def mean_by_start(
    flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, n: Tensor, increment: Increment
) -> tuple[Tensor, Tensor]:
    """Return n̄ and D_s n̄ along ẋ = a x + b n + g w(s), dz/ds; both (B, *shape).

    Parameters
    ----------
    n : Tensor, (B, *shape)
        n(s, x), or a sample of it.
    """
    sde = flow_map.sde
    velocity = sde.drift(s, x, n) + sde.noise(s, path_rate_at_start(increment))
    tangents = torch.ones_like(s), velocity, whitened_by_start(increment)

    def mean(s: Tensor, x: Tensor, z: Tensor) -> Tensor:
        return flow_map.mean(s, t, x, z)

    return torch.func.jvp(mean, _dense(s, x, increment.whitened()), tangents)[:2]


def _dense(*primals: Tensor) -> tuple[Tensor, ...]:
    """Copy what was expanded: torch gives no tangent to elements that share their memory."""
    return tuple(primal.contiguous() for primal in primals)
