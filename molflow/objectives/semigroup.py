"""Global objective: one long step equals two half steps on the same path."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.step import check_long_step, couples
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.base import act, over_batch


def composed_mean(
    first: FlowMap,
    second: FlowMap,
    s: Tensor,
    u: Tensor,
    t: Tensor,
    x: Tensor,
    left: Increment,
    right: Increment,
) -> Tensor:
    r"""Return the mean over [s, t] that a step of one map and then one of another imply.

    From X_u = Φ₁ x + G₁ n₁ + M₁ and X_t = Φ₂ X_u + G₂ n₂ + M₂, and because the martingale and the
    gain join as M = Φ₂ M₁ + M₂ and G = Φ₂ G₁ + G₂,

        n̄ = G⁻¹ (Φ₂ G₁ n₁ + G₂ n₂),

    a weighted mean without cancellation however small the noise is. Where positions and velocities
    are coupled, Φ and G are matrices that act on the first axis of a state after the batch; for
    Langevin dynamics G is diagonal, all entries are positive and each row of the two weights adds
    up to one.

    Parameters
    ----------
    s, u, t : Tensor, (B,)
        Increasing times.
    x : Tensor, (B, *shape)
        State at s.
    left, right : Increment
        Increments over [s, u] and [u, t]; centred for molecules.
    """
    sde = second.sde
    before = first.mean(s, u, x, left.whitened())
    after = second.mean(u, t, sde.apply(s, u, x, before, left), right.whitened())
    lift, early, late, whole = sde.lift(u, t), sde.gain(s, u), sde.gain(u, t), sde.gain(s, t)
    if couples(sde):
        weights = torch.linalg.solve(whole, torch.cat([lift @ early, late], dim=-1))
        return act(weights, torch.cat([before, after], dim=1))
    weight = over_batch(lift, x) * over_batch(early, x) / over_batch(whole, x)
    return weight * before + (1.0 - weight) * after


def semigroup_residual(
    flow_map: FlowMap,
    teacher: FlowMap,
    s: Tensor,
    u: Tensor,
    t: Tensor,
    x: Tensor,
    left: Increment,
    right: Increment,
    norm: Norm = mean_square,
    opening: FlowMap | None = None,
) -> Tensor:
    """Return the scaled difference between one step and two of the teacher, (B,).

    The teacher passes no gradient; `opening` takes its place in the first of the two steps. For a
    drift that is linear in x the minimiser is the conditional mean of the solution map given the
    features of the increment (strong stochastic flow maps, arXiv 2606.01086); otherwise nearly,
    because the teacher's midpoint is itself a conditional mean. The equation says nothing of steps
    shorter than the shortest half: those are learned by matching at s = t, or tied to the denoiser
    by `anchored_residual`. Arguments as in `composed_mean`.
    """
    check_long_step(flow_map.sde, flow_map.basis, s, u, x, left, by_gain=False)
    check_long_step(flow_map.sde, flow_map.basis, u, t, x, right, by_gain=False)
    with torch.no_grad():
        target = composed_mean(opening or teacher, teacher, s, u, t, x, left, right)
    predicted = flow_map.mean(s, t, x, join(left, right).whitened())
    return residual(flow_map, s, predicted, target, norm)
