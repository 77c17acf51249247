"""The learned weight of the residuals of steps of different lengths."""

from __future__ import annotations

import math

from torch import Tensor, nn

from molflow.nn.embedding import StepEmbedding


class LossWeight(nn.Module):
    """Log-variance of residuals as a function of both times; it starts at weight one.

    Parameters
    ----------
    duration : float
        Length of the clock on which it knows the two times.
    least : float
        Expected residual below which the weight stops growing, so that no part of a loss outweighs
        all others.
    """

    def __init__(self, duration: float, least: float):
        super().__init__()
        self.least = math.log(least)
        self.embedding, self.readout = StepEmbedding(duration, 32), nn.Linear(32, 1, bias=False)
        nn.init.zeros_(self.readout.weight)

    def forward(self, s: Tensor, t: Tensor) -> Tensor:
        """Return u(s, t) for `molflow.objectives.weighting.weighted`, (B,)."""
        raw = self.readout(self.embedding(s, t)).squeeze(-1)
        return self.least + nn.functional.softplus(raw - self.least)
