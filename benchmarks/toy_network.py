"""The small network of the benchmarks in one and two dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepNetwork(nn.Module):
    """A multilayer perceptron of both times, the state and the coefficients.

    Parameters
    ----------
    dimension : int
        Of the state.
    features : int
        Numbers per component that describe the Brownian path of the step.
    scale : float
        Size of an ordinary state.
    width, layers : int
    """

    def __init__(self, dimension: int, features: int, scale: float, width: int, layers: int):
        super().__init__()
        self.scale = scale
        sizes = [3 + dimension * (2 + features), *[width] * layers]
        hidden = [
            part
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            for part in (nn.Linear(a, b), nn.SiLU())
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, dimension))

    def forward(self, s: Tensor, t: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """Return (B, dimension) for s, t (B,), x (B, dimension), z (B, dimension, features)."""
        y = x / self.scale
        # Steps much shorter than 1e-2 look like one of no length: what is learned there holds.
        times = torch.stack([s, t, 0.2 * torch.log(t - s + 1e-2)], dim=-1)
        return self.layers(torch.cat([times, y, torch.tanh(y), z.flatten(1)], dim=-1))
