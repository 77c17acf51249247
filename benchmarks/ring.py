"""A thin ring of seven Gaussians, the two ways to it from noise, and how samples are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.maps.denoiser.clock import StepClock
from molflow.sde.base import AdditiveSDE, over_batch
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.gaussian_path import VariancePreserving
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.solvers.exponential_euler import exponential_euler_step
from molflow.solvers.solved_paths import Problem

RADIUS, ACROSS, ALONG = 1.3, 0.012, 0.12
ANGLES = torch.tensor([0.3, 0.9, 1.5, 2.6, 3.3, 4.6, 5.3])
WEIGHTS = torch.tensor([0.3, 0.15, 0.05, 0.2, 0.1, 0.15, 0.05])
ORDER = 4  # Legendre coefficients on our side


def ring() -> GaussianMixture:
    """Return the mixture: ellipses along the tangents of the circle."""
    out = torch.stack([torch.cos(ANGLES), torch.sin(ANGLES)], dim=-1)
    round_it = torch.stack([-torch.sin(ANGLES), torch.cos(ANGLES)], dim=-1)
    widths = torch.tensor([ACROSS, ALONG]).expand(len(ANGLES), 2)
    return GaussianMixture(RADIUS * out, widths, WEIGHTS, torch.stack([out, round_it], dim=1))


RING = ring()


@dataclass(frozen=True)
class Side:
    """A reversed diffusion, with the times between which its samples jump.

    Parameters
    ----------
    sde : AdditiveSDE
        With a method `sigma`.
    alpha : callable
        Scale of the data in the state at time t.
    basis : Basis
    grid : callable
        Number of steps to the list of their ends.
    """

    sde: AdditiveSDE
    alpha: Callable[[Tensor], Tensor]
    basis: Basis
    grid: Callable[[int], list[float]]

    def denoise(self, t: Tensor, x: Tensor) -> Tensor:
        """Return E[x_0 | x] at times t, () or (B,), for states (B, 2)."""
        alpha = self.alpha(t)
        return RING.denoise(x / over_batch(alpha, x), self.sde.sigma(t) / alpha)

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Return the whole drift at times t and states (B, 2)."""
        return self.sde.drift(t, x, self.denoise(t, x))

    def states(self, t: Tensor, generator: torch.Generator) -> Tensor:
        """Return data, scaled and with the noise of times t (B,); (B, 2)."""
        clean = RING.sample(len(t), generator)
        noise = torch.randn(len(t), 2, generator=generator)
        return (
            over_batch(self.alpha(t), clean) * clean + over_batch(self.sde.sigma(t), noise) * noise
        )

    def problem(self, inner: int) -> Problem:
        """Return the way from noise in `inner` exponential Euler steps for each of 64."""
        return Problem(
            sde=self.sde,
            nonlinear=self.denoise,
            start=lambda count, generator: self.states(torch.zeros(count), generator),
            grid=self.grid,
            scheme=exponential_euler_step,
            fine=64 * inner,
        )


def _log_sigma() -> Side:
    sde = ReverseDiffusion(sigma_max=10.0, sigma_min=0.002)
    # Component and place on the ring are decided around sigma = 0.1.
    clock = StepClock(sde.duration, centre=float(sde.time(0.1)), weight=2.0)
    return Side(sde, torch.ones_like, sde.basis(ORDER), clock.grid)


def _variance_preserving() -> Side:
    sde = VariancePreserving(beta_start=0.1, beta_end=20.0, cut=1e-4)
    # One coefficient more, for the exponential feature of the other side: equal networks.
    basis = Basis(ORDER + 1)
    return Side(
        sde, sde.alpha, basis, lambda steps: np.linspace(0, sde.duration, steps + 1).tolist()
    )


OURS, PUBLISHED = _log_sigma(), _variance_preserving()


def scores(samples: Tensor, truth: Tensor) -> dict[str, float | None]:
    """Return radial W1 in ring widths and the total variation of the populations.

    A sample belongs to the component that is nearest in angle. Both are None where a sample is
    not finite.
    """
    if not bool(samples.isfinite().all()):
        return {"w1": None, "tv": None}

    def populations(points: Tensor) -> Tensor:
        angle = torch.atan2(points[:, 1], points[:, 0])[:, None] - ANGLES
        return torch.bincount(torch.cos(angle).argmax(1), minlength=len(ANGLES)) / len(points)

    radii = (points.double().norm(dim=1).numpy() for points in (samples, truth))
    apart = (populations(samples) - populations(truth)).abs().sum()
    return {"w1": float(wasserstein_distance(*radii)) / ACROSS, "tv": 0.5 * float(apart)}
