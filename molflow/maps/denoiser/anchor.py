"""Short steps, tied to the denoiser itself.

The semigroup equation relates long steps to short ones. Where its chain of halves begins, any
smooth error would satisfy it, so the shortest steps are computed from the denoiser.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.step import check_long_step
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.reverse_diffusion import ReverseDiffusion


def mean_point(
    sde: ReverseDiffusion, s: Tensor, t: Tensor, x: Tensor, denoised: Tensor, increment: Increment
) -> tuple[Tensor, Tensor]:
    r"""Return where and when, on average, the denoiser is met along a step.

    D̄ = ∫ ρ(u) D(X_u) du averages with ρ(u) = k e^{−k(t−u)} / (1 − e^{−kh}), k = 1 + η². With the
    denoiser frozen, X_u = e^{−k(u−s)} x + (1 − e^{−k(u−s)}) D + M_u, whose average is

        a x + (1 − a) D + M̄,   a = kh e^{−kh} / (1 − e^{−kh}),
        M̄ = √2 η σ(t) k / (1 − e^{−kh}) ∫ (t − v) e^{−η²(t−v)} dW_v,

    the latter projected on the coefficients I^n. The mean time is ∫ ρ(u) u du =
    t − 1/k + h e^{−kh} / (1 − e^{−kh}).

    Parameters
    ----------
    s, t : Tensor, (batch,)
    x, denoised : Tensor, (batch, atoms, 3)
        State and denoiser at s.
    increment : Increment
        Over [s, t].

    Returns
    -------
    time : Tensor, (batch,)
    position : Tensor, (batch, atoms, 3)
    """
    h = (t - s).double()
    k = 1.0 + sde.eta**2
    gone = -torch.expm1(-k * h)
    time = t.double() - 1.0 / k + h * (1.0 - gone) / gone
    stay = (k * h * (1.0 - gone) / gone).to(x.dtype).reshape(-1, 1, 1)
    node, weight, legendre = _quadrature(increment.basis.order, h.device)
    before = h[:, None] * (1.0 - node)
    kernel = before * torch.exp(-(sde.eta**2) * before) * weight
    factor = math.sqrt(2.0) * sde.eta * sde.sigma(t).double() * k / gone
    weights = (factor[:, None] * (kernel @ legendre)).to(x.dtype)
    martingale = (increment.coefficients * weights[:, None, None]).sum(-1)
    return time.to(t.dtype), stay * x + (1.0 - stay) * denoised + martingale


@lru_cache
def _quadrature(order: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1], and (2n + 1) P_n(2 node - 1)."""
    node, weight = np.polynomial.legendre.leggauss(order + 12)
    legendre = np.polynomial.legendre.legvander(node, order - 1) * (2 * np.arange(order) + 1)
    found = 0.5 + 0.5 * node, 0.5 * weight, legendre
    nodes, weights, values = (torch.from_numpy(part).to(device) for part in found)
    return nodes, weights, values


def anchored_mean(
    teacher: DenoiserFlowMap, s: Tensor, t: Tensor, x: Tensor, increment: Increment
) -> Tensor:
    """Return D̄ over a short step as the denoiser at the `mean_point` of the step.

    For a denoiser linear in time and position this is the average along the path that the frozen
    denoiser gives, so the noise of the step enters as it should, coefficient by coefficient.

    Parameters
    ----------
    s, t : Tensor, (batch,)
    x : Tensor, (batch, atoms, 3)
        State at s.
    increment : Increment
        Over [s, t], centred.
    """
    nothing = torch.zeros_like(increment.features)
    first = teacher.mean(s, s, x, nothing)
    time, position = mean_point(teacher.sde, s, t, x, first, increment)
    return teacher.mean(time, time, position, nothing)


def anchored_residual(
    flow_map: DenoiserFlowMap,
    teacher: DenoiserFlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the scaled difference to `anchored_mean`, (batch,); see there.

    The teacher passes no gradient.
    """
    check_long_step(flow_map.sde, flow_map.basis, s, t, x, increment)
    with torch.no_grad():
        target = anchored_mean(teacher, s, t, x, increment)
    return residual(flow_map, s, flow_map.mean(s, t, x, increment.whitened()), target, norm)
