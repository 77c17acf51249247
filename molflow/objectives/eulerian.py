r"""Global objectives: where the step begins does not matter, on a fixed path.

When the start moves along ẋ = a x + b n(s, x) + g w(s), the end Φ x + G n̄ + M stays. With
∂_s Φ = −a Φ, ∂_s G = −b Φ and D_s M = −Φ g w(s) this is

    D_s X_t = Φ b (n(s, x) − n̄) + G D_s n̄ = 0.

Where positions and velocities are coupled, Φ and G are matrices and Φ b is −∂_s G; for Langevin
dynamics G is diagonal, and entry k of Φ b (n − n̄) is Φ_k2 (n − n̄_k).

Times h/G it is the equation of the average F̄ = G n̄/h, F̄ = Φ b n + h D_s F̄, in which n̄ enters
with the factor h D_s at most. Solved for n̄ = n + G/(Φ b) D_s n̄ instead, the factor is 1/Φ: ten
million on the longest step of a reverse diffusion.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.step import check_like, check_long_step, couples
from molflow.objectives.along_path import mean_by_start
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.base import act, over_batch


def eulerian_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    n: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the size of (h/G) D_s X_t, (B,).

    Eulerian flow map matching (arXiv 2406.07507). Gradients pass through the derivative as well,
    so n must be exact: the noise of a sample would be fitted by it.

    Parameters
    ----------
    s, t : Tensor, (B,)
        Ends of the step, s < t.
    x, n : Tensor, (B, *shape)
        State at s, and n(s, x).
    increment : Increment
        Over [s, t].
    """
    mean, moved = _mean_and_motion(flow_map, s, t, x, n, increment)
    # The norm takes its directions from the prediction, which is n̄.
    return residual(flow_map, s, mean, mean + moved, norm)


def mean_flow_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    n: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the error of n̄ against n̄ + (h/G) D_s X_t, of which no gradient passes, (B,).

    MeanFlow (arXiv 2505.13447) on the fixed mean path, in the sense of Wong and Zakai: as an
    error of F̄ it is that of F̄ against Φ b n + h D_s F̄. n enters linearly, so a sample whose mean
    given x is n(s, x) will do and no teacher is needed. Parameters as in `eulerian_residual`.
    """
    target = mean_flow_target(flow_map, s, t, x, n, increment)
    return residual(flow_map, s, flow_map.mean(s, t, x, increment.whitened()), target, norm)


@torch.no_grad()
def mean_flow_target(
    flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, n: Tensor, increment: Increment
) -> Tensor:
    """Return n̄ + (h/G) D_s X_t, (B, *shape), without gradient; see `mean_flow_residual`."""
    mean, motion = _mean_and_motion(flow_map, s, t, x, n, increment)
    return mean + motion


def _mean_and_motion(
    flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, n: Tensor, increment: Increment
) -> tuple[Tensor, Tensor]:
    """n̄ and (h/G) D_s X_t = (h Φ b/G) (n − n̄) + h D_s n̄."""
    check_long_step(flow_map.sde, flow_map.basis, s, t, x, increment, by_gain=False)
    check_like("n", n, x)
    sde = flow_map.sde
    mean, slope = mean_by_start(flow_map, s, t, x, n, increment)
    if couples(sde):
        ones = torch.ones_like(s)
        gain, change = torch.func.jvp(lambda s: sde.gain(s, t), (s,), (ones,))[:2]
        motion = slope - act(torch.linalg.solve(gain, change), n - mean)
        return mean, over_batch(t - s, x) * motion
    h, lift, gain = (over_batch(value, x) for value in (t - s, sde.lift(s, t), sde.gain(s, t)))
    share = h * lift * over_batch(sde.rates(s)[1], x) / gain
    return mean, share * (n - mean) + h * slope
