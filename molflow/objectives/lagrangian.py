"""Global objective: the end of the step moves as the equation says."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.step import check_long_step
from molflow.objectives.along_path import mean_by_end
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.base import Nonlinear, over_batch


def lagrangian_residual(
    flow_map: FlowMap,
    nonlinear: Nonlinear,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    r"""Return the error of ∂_t X_t = a X_t + b n(t, X_t) + g w(t) on the fixed mean path, (B,).

    X_t = Φ x + G n̄ + M, and Φ, G and M obey ∂_t Φ = a Φ, ∂_t G = a G + b, ∂_t M = a M + g w(t).
    What remains to be true is

        n̄ + (G/b) D_t n̄ = n(t, X_t).

    Lagrangian flow map matching (arXiv 2406.07507) on a Brownian path; the right side passes no
    gradient, as in the self-distillation of arXiv 2505.18825. `nonlinear` must be n itself: a
    sample of it at X_t would do, but nothing samples there.

    Parameters
    ----------
    nonlinear : callable
        n(t, X): exact, a frozen model's, or the student's own at s = t.
    s, t : Tensor, (B,)
        Ends of the step, s < t.
    x : Tensor, (B, *shape)
        State at s.
    increment : Increment
        Over [s, t].
    """
    check_long_step(flow_map.sde, flow_map.basis, s, t, x, increment)
    sde = flow_map.sde
    mean, slope = mean_by_end(flow_map, s, t, x, increment)
    factor = over_batch(sde.gain(s, t), x) / over_batch(sde.rates(t)[1], x)
    with torch.no_grad():
        target = nonlinear(t, sde.apply(s, t, x, mean, increment))
    return residual(flow_map, s, mean + factor * slope, target, norm)
