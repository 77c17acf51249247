"""Smooth features of scalars: distances and times."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Features of a number that steps are given besides their times.
SETTINGS = 8


class GaussianBasis(nn.Module):
    """Overlapping Gaussians on an interval, shape (...) -> (..., count)."""

    centres: Tensor

    def __init__(self, low: float, high: float, count: int):
        super().__init__()
        # In units of sqrt(2) widths, so that a Gaussian is exp(-(difference)^2).
        self.scale = (count - 1) / (high - low) / 2**0.5
        centres = torch.linspace(low, high, count) * self.scale
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """Evaluate the basis."""
        difference = (value * self.scale).unsqueeze(-1) - self.centres
        return torch.exp(-(difference * difference))


class StepEmbedding(nn.Module):
    """Embed the start and the length of a step on a clock of known duration.

    Both times enter on the clock itself (log-SNR), at a resolution of a fraction of a unit, and
    the length also by its logarithm, so that short and long steps are told apart alike.

    Parameters
    ----------
    duration : float
    width : int
        Features returned.
    resolution : float
        Distance of the features of a time.
    setting : bool
        Whether steps have a number from 0 to 1 besides; it has no say at initialisation, so that a
        trained network without it can be gone on with.
    """

    def __init__(
        self, duration: float, width: int, resolution: float = 0.25, setting: bool = False
    ):
        super().__init__()
        count = max(8, round(duration / resolution))
        self.start = GaussianBasis(0.0, duration, count)
        self.length = GaussianBasis(0.0, duration, count)
        self.log_length = GaussianBasis(-2.5, 2.5, 16)
        self.mlp = nn.Sequential(
            nn.Linear(2 * count + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        if setting:
            self.setting = GaussianBasis(0.0, 1.0, SETTINGS)
            self.of_setting = nn.Parameter(torch.zeros(SETTINGS, width))

    def forward(self, s: Tensor, t: Tensor, setting: Tensor | None = None) -> Tensor:
        """Return features of shape (batch, width) for numbers of shape (batch,)."""
        h = t - s
        features = [self.start(s), self.length(h), self.log_length(torch.log(h + 0.1))]
        found = self.mlp(torch.cat(features, dim=-1))
        return found if setting is None else found + self.setting(setting) @ self.of_setting
