"""Local objectives: what the map does in a step of no length, or of a very short one."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.step import check_like, check_long_step, check_times, couples
from molflow.objectives.norm import Norm, mean_square, residual
from molflow.sde.base import AdditiveSDE, act, over_batch


def matching_residual(
    flow_map: FlowMap, s: Tensor, x: Tensor, sample: Tensor, norm: Norm = mean_square
) -> Tensor:
    """Return the error of the drift at s = t, per member of the batch.

    Drift matching: at s = t the mean n̄ is n(s, x) itself. `sample` need only be right on average:
    with x₀ itself as the sample of E[x₀ | x], the minimiser is the denoiser (denoising score
    matching, Vincent 2011).

    Parameters
    ----------
    s : Tensor, (B,)
        Times.
    x, sample : Tensor, (B, *shape)
        State at s, and a sample whose mean given x is n(s, x).
    norm : Norm
        How an error is measured.
    """
    check_times(s, s, x)
    return residual(flow_map, s, flow_map.mean(s, s, x, flow_map.no_features(x)), sample, norm)


def euler_matching_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
    sample: Tensor,
    norm: Norm = mean_square,
) -> Tensor:
    r"""Return the error of the map against one short Euler-Maruyama step.

    The published local objective (strong stochastic flow maps, arXiv 2606.01086): X_t is to be
    x + (a x + b n) h + g(s) I^0 with a sample in the place of n. Solved for n̄, the target is
    (x + (a x + b n) h + g I^0 − Φ x − M)/G. The bias of the Euler-Maruyama step, of first order
    in h, is learned with it.

    Parameters
    ----------
    s, t : Tensor, (B,)
        Ends of the short step, s < t.
    x, sample : Tensor, (B, *shape)
        As in `matching_residual`.
    increment : Increment
        Over [s, t].
    """
    sde = flow_map.sde
    check_long_step(sde, flow_map.basis, s, t, x, increment)
    check_like("sample", sample, x)
    moved = x + over_batch(increment.h, x) * sde.drift(s, x, sample)
    moved = moved + sde.noise(s, increment.increment)
    return direct_residual(flow_map, s, t, x, increment, moved, norm)


def direct_residual(
    flow_map: FlowMap,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
    end: Tensor,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the error of the map against a known end of the path, per member of the batch.

    Direct flow map matching: the minimiser is E[X_t | x, features] whatever the equation, at the
    price of a solution of it. Measured in n̄, that is as the error of X_t divided by G, or times the
    inverse of G where it is a matrix.

    Parameters
    ----------
    s, t : Tensor, (B,)
        Ends of the step, s < t.
    x, end : Tensor, (B, *shape)
        States at s and t on the path of the increment.
    increment : Increment
        Over [s, t].
    """
    check_long_step(flow_map.sde, flow_map.basis, s, t, x, increment, by_gain=False)
    target = implied_mean(flow_map.sde, s, t, x, increment, end)
    return residual(flow_map, s, flow_map.mean(s, t, x, increment.whitened()), target, norm)


def implied_mean(
    sde: AdditiveSDE, s: Tensor, t: Tensor, x: Tensor, increment: Increment, end: Tensor
) -> Tensor:
    """Return the n̄ that takes x to a known end, G⁻¹ (X_t − Φ x − M); as in `direct_residual`."""
    check_like("end", end, x)
    rest = end - sde.apply(s, t, x, torch.zeros_like(x), increment)
    gain = sde.gain(s, t)
    if couples(sde):
        return act(torch.linalg.inv(gain), rest)
    return rest / over_batch(gain, x)


def noised(clean: Tensor, sigma: Tensor, normal: Tensor) -> Tensor:
    """Return x₀ + σ n for sigma of shape (batch,) and centred standard normal n."""
    return clean + over_batch(sigma, clean) * normal
