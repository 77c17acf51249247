"""Where the jumps of a sample begin and end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.errors import MolflowError


@dataclass(frozen=True)
class StepClock:
    r"""A clock on which the jumps of a sample are equally long, denser where basins are decided.

    The basin of a molecule is decided while the noise is about as wide as basins are apart; before
    and after, the denoiser is nearly linear and a long jump costs little. So the density of the
    jumps along the clock t of the equation is

        ρ(t) = 1 + w exp(−(t − c)²/2),

    and a time has the position R(t) = ∫₀^t ρ.

    Parameters
    ----------
    duration : float
        Length of the clock of the equation.
    centre : float
        c, the time in which the density is highest.
    weight : float
        w; zero gives equidistant times.
    """

    duration: float
    centre: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.duration < math.inf or not 0.0 <= self.weight < math.inf:
            raise MolflowError(
                f"a clock of duration {self.duration} and weight {self.weight} is impossible: the "
                "duration must be positive, the weight at least 0, and both finite."
            )

    def position(self, t: Tensor | float) -> Tensor:
        """Return R(t), float64 in the shape of t."""
        t = torch.as_tensor(t, dtype=torch.float64)
        bump = torch.erf((t - self.centre) / 2**0.5) + math.erf(self.centre / 2**0.5)
        return t + self.weight * math.sqrt(math.pi / 2.0) * bump

    @property
    def length(self) -> float:
        """R(duration)."""
        return float(self.position(self.duration))

    def time(self, position: Tensor | float) -> Tensor:
        """Return the time at a position between 0 and `length`, float64; inverse of `position`."""
        position = torch.as_tensor(position, dtype=torch.float64)
        low = torch.zeros_like(position)
        high = torch.full_like(position, self.duration)
        # R is increasing: bisection down to the last bit, without a starting guess to go wrong.
        for _ in range(60):
            middle = 0.5 * (low + high)
            early = self.position(middle) < position
            low, high = torch.where(early, middle, low), torch.where(early, high, middle)
        return 0.5 * (low + high)

    def grid(self, steps: int) -> list[float]:
        """Return `steps` + 1 times from 0 to `duration`, equidistant in position.

        Raises
        ------
        MolflowError
            If `steps` is not positive.
        """
        if steps < 1:
            raise MolflowError(f"steps is {steps}: a sample needs at least 1 step.")
        inner = self.time(self.length * torch.arange(1, steps, dtype=torch.float64) / steps)
        return [0.0, *inner.tolist(), self.duration]
