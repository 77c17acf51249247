"""Equations whose drift is linear, written as if part of it were unknown, and their exact maps."""

from __future__ import annotations

import torch
from torch import nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment, sample_increment
from molflow.flow_map.base import FlowMap
from molflow.sde.base import over_batch
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck

RATE, SHARE, OFFSET = 1.3, 0.4, 0.7
#: The rate of the whole drift RATE (SHARE x + OFFSET - x).
TOTAL = RATE * (1.0 - SHARE)


def nonlinear(t, x):
    """n(t, x), linear here so that the exact map is known."""
    return SHARE * x + OFFSET


class ExactMap(FlowMap):
    """n-bar of dX = RATE (n(X) - X) dt + g dW: with features of both rates X_t is exact.

    Parameters
    ----------
    diffusion : float
        g; zero is the deterministic limit.
    error : float
        Added in proportion to x and to the coefficients; zero is the exact map.
    """

    def __init__(self, diffusion: float, error: float = 0.0):
        super().__init__()
        self.sde = OrnsteinUhlenbeck(RATE, diffusion)
        self.basis = Basis(3, (RATE, TOTAL))
        self.error = nn.Parameter(torch.tensor(error, dtype=torch.float64))

    def mean(self, s, t, x, whitened):
        h = t - s
        positive = torch.where(h > 0, h, 1.0)
        features = Increment.from_whitened(self.basis, positive, whitened).exponentials
        lift = over_batch(torch.exp(-RATE * h), x)
        whole = over_batch(torch.exp(-TOTAL * h), x)
        gain = over_batch(-torch.expm1(-RATE * positive), x)
        drifted = (OFFSET / (1.0 - SHARE)) * (1.0 - whole)
        noise = self.sde.diffusion * (features[..., 1] - features[..., 0])
        moved = ((whole - lift) * x + drifted + noise) / gain
        exact = torch.where(over_batch(h, x) > 0, moved, nonlinear(s, x))
        return exact + self.error * over_batch(1.0 + h, x) * (x + 0.3 * whitened[..., 0])


class MapFromEnd(FlowMap):
    """n-bar from the end of the path in closed form.

    Parameters
    ----------
    sde, basis
    end : callable
        (s, t, x, increment) -> X_t.
    nonlinear : callable
        n(t, x).
    error : float
        As in `ExactMap`.
    """

    def __init__(self, sde, basis, end, nonlinear, error: float = 0.0):
        super().__init__()
        self.sde, self.basis, self.end, self.nonlinear = sde, basis, end, nonlinear
        self.error = nn.Parameter(torch.tensor(error, dtype=torch.float64))

    def mean(self, s, t, x, whitened):
        later = torch.where(t > s, t, s + 0.01)
        increment = Increment.from_whitened(self.basis, later - s, whitened)
        rest = self.end(s, later, x, increment)
        rest = rest - self.sde.apply(s, later, x, torch.zeros_like(x), increment)
        mean = rest / over_batch(self.sde.gain(s, later), x)
        exact = torch.where(over_batch(t - s, x) > 0, mean, self.nonlinear(s, x))
        return exact + self.error * over_batch(1.0 + t - s, x) * (x + 0.3 * whitened[..., 0])


def gaussian_flow(sde, width, error=0.0):
    """Return the exact map of a deterministic reversal for data N(0, width^2), and n.

    The flow keeps x / sqrt(v), v = alpha^2 width^2 + sigma^2; the denoiser is
    alpha width^2 x / v.
    """

    def moments(t):
        alpha = sde.alpha(t) if hasattr(sde, "alpha") else torch.ones_like(t)
        return alpha, alpha**2 * width**2 + sde.sigma(t) ** 2

    def end(s, t, x, increment):
        return over_batch(torch.sqrt(moments(t)[1] / moments(s)[1]), x) * x

    def denoiser(t, x):
        alpha, variance = moments(t)
        return over_batch(alpha * width**2 / variance, x) * x

    return MapFromEnd(sde, Basis(2), end, denoiser, error)


def ends(batch=16, seed=0):
    """Return s < u < t, (batch,) float64, between 0 and 3.05."""
    generator = torch.Generator().manual_seed(seed)
    s, h, share = torch.rand(3, batch, generator=generator, dtype=torch.float64)
    t = s + 0.05 + 2.0 * h
    return s, s + (0.1 + 0.8 * share) * (t - s), t


def increments(flow_map, s, u, t, shape=(3,), seed=1):
    """Return independent increments over [s, u] and [u, t], and a state at s."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        sample_increment(flow_map.basis, h, (len(s), *shape), generator, torch.float64)
        for h in (u - s, t - u)
    ]
    return *parts, torch.randn(len(s), *shape, generator=generator, dtype=torch.float64)
