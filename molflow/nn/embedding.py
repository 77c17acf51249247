"""Smooth features of scalars: distances and times."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    """Overlapping Gaussians on an interval, shape (...) -> (..., count)."""

    def __init__(self, low: float, high: float, count: int):
        super().__init__()
        self.register_buffer("centres", torch.linspace(low, high, count), persistent=False)
        self.inverse_width = (count - 1) / (high - low)

    def forward(self, value: Tensor) -> Tensor:
        """Evaluate the basis."""
        scaled = (value.unsqueeze(-1) - self.centres) * self.inverse_width
        return torch.exp(-0.5 * scaled.square())


class StepEmbedding(nn.Module):
    """Embed the start and the length of a step on a clock of known duration.

    Both times enter on the clock itself (log-SNR), at a resolution of a fraction of a unit, and
    the length also by its logarithm, so that short and long steps are told apart alike.
    """

    def __init__(self, duration: float, width: int, resolution: float = 0.25):
        super().__init__()
        count = max(8, round(duration / resolution))
        self.start = GaussianBasis(0.0, duration, count)
        self.length = GaussianBasis(0.0, duration, count)
        self.log_length = GaussianBasis(-5.0, 2.5, 16)
        self.mlp = nn.Sequential(
            nn.Linear(2 * count + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, s: Tensor, t: Tensor) -> Tensor:
        """Return features of shape (batch, width) for times of shape (batch,)."""
        h = t - s
        features = [self.start(s), self.length(h), self.log_length(torch.log(h + 1e-2))]
        return self.mlp(torch.cat(features, dim=-1))
