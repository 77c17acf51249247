"""One particle in the quartic double well, with constant or growing noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, time_tensor


@dataclass(frozen=True)
class DoubleWell(AdditiveSDE):
    r"""dX = (X − X³) dt + sqrt(β(t)) dW, β(t) = β_start + (β_end − β_start) t for 0 <= t <= 1.

    The drift is minus the slope of (X² − 1)²/4. With constant β the stationary density is
    exp(−(x² − 1)²/(2β)) up to a factor. The defaults are the test equation of strong stochastic
    flow maps (arXiv 2606.01086).

    The linear part is X itself, n = −X³.

    Parameters
    ----------
    beta_start, beta_end : float
        Not negative.
    """

    beta_start: float = 0.1
    beta_end: float = 20.0

    def __post_init__(self) -> None:
        if not (0 <= self.beta_start < math.inf and 0 <= self.beta_end < math.inf):
            raise MolflowError(
                f"beta runs from {self.beta_start} to {self.beta_end}: give finite numbers that "
                "are not negative."
            )

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = −x³, (B, *shape)."""
        return -(x**3)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = time_tensor(t)
        one = torch.ones_like(t)
        return one, one, torch.sqrt(self.beta_start + (self.beta_end - self.beta_start) * t)

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.exp(time_tensor(t) - time_tensor(s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.expm1(time_tensor(t) - time_tensor(s))
