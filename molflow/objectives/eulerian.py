r"""Global objectives: where the step begins does not matter, on a fixed path.

When the start moves along ẋ = a x + b n(s, x) + g w(s), the end Φ x + G n̄ + M stays. With
∂_s Φ = −a Φ, ∂_s G = −b Φ and D_s M = −Φ g w(s) this is

    Φ b (n(s, x) − n̄) + G D_s n̄ = 0,   or   n̄ = n(s, x) + G/(Φ b) D_s n̄.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.objectives.along_path import mean_by_start
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.base import over_batch


def eulerian_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    n: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the error of the equation in n̄, scaled to be at most of the size of n, (B,).

    Eulerian flow map matching (arXiv 2406.07507). Gradients pass through the derivative as well,
    so n must be exact: the noise of a sample would be fitted by it. The equation is divided by
    Φ b + G, so that neither of its terms grows without bound on long steps.

    Parameters
    ----------
    s, t : Tensor, (B,)
        Ends of the step, s < t.
    x, n : Tensor, (B, *shape)
        State at s, and n(s, x).
    increment : Increment
        Over [s, t].
    """
    mean, slope, gain, rate = _parts(flow_map, s, t, x, n, increment)
    left, right = rate * mean - gain * slope, rate * n
    return residual(flow_map, s, left / (rate + gain), right / (rate + gain), norm)


def mean_flow_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    n: Tensor,
    increment: Increment,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the error of n̄ against n + G/(Φ b) D_s n̄, of which no gradient passes, (B,).

    MeanFlow (arXiv 2505.13447) on the fixed mean path, in the sense of Wong and Zakai. n enters
    linearly, so a sample whose mean given x is n(s, x) will do and no teacher is needed.
    Parameters as in `eulerian_residual`.
    """
    with torch.no_grad():
        _, slope, gain, rate = _parts(flow_map, s, t, x, n, increment)
        target = n + gain / rate * slope
    return residual(flow_map, s, flow_map.mean(s, t, x, increment.whitened()), target, norm)


def _parts(
    flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, n: Tensor, increment: Increment
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """n̄, D_s n̄, G and Φ b."""
    sde = flow_map.sde
    mean, slope = mean_by_start(flow_map, s, t, x, n, increment)
    rate = over_batch(sde.lift(s, t), x) * over_batch(sde.rates(s)[1], x)
    return mean, slope, over_batch(sde.gain(s, t), x), rate
