"""Global objective: one long step equals two half steps on the same path."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.objectives.norm import Norm, mean_square, scaled


def composed_mean_denoiser(
    teacher: DenoiserFlowMap,
    s: Tensor,
    u: Tensor,
    t: Tensor,
    x: Tensor,
    left: Increment,
    right: Increment,
) -> Tensor:
    r"""Return the mean denoiser over [s, t] that two steps of the teacher imply.

    From X_u = Φ₁ x + (1 − Φ₁) D₁ + M₁ and X_t = Φ₂ X_u + (1 − Φ₂) D₂ + M₂, and because the
    martingale joins as M = Φ₂ M₁ + M₂,

        D̄ = [Φ₂ (1 − Φ₁) D₁ + (1 − Φ₂) D₂] / (1 − Φ₂ Φ₁),

    a weighted mean without cancellation however small the noise is.

    Parameters
    ----------
    s, u, t : Tensor, (batch,)
        Increasing times.
    x : Tensor, (batch, atoms, 3)
        State at s.
    left, right : Increment
        Increments over [s, u] and [u, t], centred.
    """
    sde = teacher.sde
    first = teacher.mean_denoiser(s, u, x, left.whitened())
    middle = sde.apply(s, u, x, first, left)
    second = teacher.mean_denoiser(u, t, middle, right.whitened())
    decay = sde.lift(u, t)
    weight = (decay * (1.0 - sde.lift(s, u)) / (1.0 - sde.lift(s, t))).reshape(-1, 1, 1)
    return weight * first + (1.0 - weight) * second


def semigroup_residual(
    flow_map: DenoiserFlowMap,
    teacher: DenoiserFlowMap,
    s: Tensor,
    u: Tensor,
    t: Tensor,
    x: Tensor,
    left: Increment,
    right: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the scaled difference between one step and two of the teacher, (batch,).

    The teacher passes no gradient. For a drift that is linear in x the minimiser is the
    conditional mean of the solution map given the features of the increment (strong stochastic
    flow maps, arXiv 2606.01086); otherwise nearly, because the teacher's midpoint is itself a
    conditional mean. The equation says nothing of steps shorter than the shortest half: those
    are tied to the denoiser by `anchored_residual`. Arguments as in `composed_mean_denoiser`.
    """
    with torch.no_grad():
        target = composed_mean_denoiser(teacher, s, u, t, x, left, right)
    student = flow_map.mean_denoiser(s, t, x, join(left, right).whitened())
    return scaled(flow_map, s, norm(student - target, student, flow_map.sde.sigma(s)))
