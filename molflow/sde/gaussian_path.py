"""Reversals of diffusions along any Gaussian path x = alpha x_0 + sigma eps."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.legendre import shifted_legendre
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, time_tensor
from molflow.sde.quadrature import legendre_rule


class GaussianPathReversal(AdditiveSDE):
    r"""From noise to data along x = α x₀ + σ ε, on the clock of the path; n is the denoiser.

    Generation walks forward from t = 0. With κ = σ/α, which falls with t, and stochasticity η,
    exactly

        Φ = (α_t/α_s)(κ_t/κ_s)^(1+η²),   G = α_t − Φ α_s,   Var M = σ_t² [1 − (κ_t/κ_s)^(2η²)].

    In a clock other than ln κ the martingale is no sum of a few exponential features:
    `martingale` is its mean given the Legendre coefficients, and what they miss has the variance
    `martingale_variance` less that of the projection. On the clock ln κ with α = 1 use
    `ReverseDiffusion`, which is exact.

    Attributes
    ----------
    eta : float
        1 is the ancestral step, 0 the deterministic map.
    """

    eta: float

    @abstractmethod
    def logarithms(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return ln α and ln κ at time t, in the shape of t."""

    @abstractmethod
    def time(self, log_kappa: Tensor) -> Tensor:
        """Return the time at which ln κ has a value; inverse of `logarithms`."""

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return σ(t), in the shape of t."""
        log_alpha, log_kappa = self.logarithms(time_tensor(t))
        return torch.exp(log_alpha + log_kappa)

    def alpha(self, t: Tensor | float) -> Tensor:
        """Return α(t), in the shape of t."""
        return torch.exp(self.logarithms(time_tensor(t))[0])

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = time_tensor(t)
        (log_alpha, log_kappa), (alpha_rate, kappa_rate) = torch.func.jvp(
            self.logarithms, (t,), (torch.ones_like(t),)
        )[:2]
        pull = -(1.0 + self.eta**2) * kappa_rate
        noise = self.eta * torch.exp(log_alpha + log_kappa) * torch.sqrt(-2.0 * kappa_rate)
        return alpha_rate - pull, torch.exp(log_alpha) * pull, noise

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        (alpha_s, kappa_s), (alpha_t, kappa_t) = self._at(s), self._at(t)
        return torch.exp(alpha_t - alpha_s + (1.0 + self.eta**2) * (kappa_t - kappa_s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        (_, kappa_s), (alpha_t, kappa_t) = self._at(s), self._at(t)
        return -torch.exp(alpha_t) * torch.expm1((1.0 + self.eta**2) * (kappa_t - kappa_s))

    def martingale_variance(self, s: Tensor, t: Tensor) -> Tensor:
        kappa_s, kappa_t = (self._at(time_tensor(u).double())[1] for u in (s, t))
        shrink = -torch.expm1(2.0 * self.eta**2 * (kappa_t - kappa_s))
        return self.sigma(time_tensor(t).double()).square() * shrink

    def martingale_projection(self, s: Tensor, t: Tensor, order: int) -> Tensor:
        # The kernel is sharp at the end of the step in t and smooth in ln kappa: the nodes lie
        # evenly there.
        s, t = time_tensor(s).double()[..., None], time_tensor(t).double()[..., None]
        first, last = self._at(s)[1], self._at(t)[1]
        theta, weight, _ = legendre_rule(1, s.device)
        log_kappa = first + (last - first) * theta
        u = self.time(log_kappa)
        fall = -torch.func.jvp(lambda u: self.logarithms(u)[1], (u,), (torch.ones_like(u),))[1]
        share = torch.exp(self.eta**2 * (last - log_kappa)) * torch.sqrt(2.0 / fall)
        h = t - s
        measure = self.eta * self.sigma(t) * share * weight * (first - last) / h
        odd = 2.0 * torch.arange(order, dtype=u.dtype, device=u.device) + 1.0
        return (measure[..., None] * (shifted_legendre((u - s) / h, order) * odd)).sum(-2)

    def _at(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        return self.logarithms(time_tensor(t))


@dataclass(frozen=True)
class VariancePreserving(GaussianPathReversal):
    r"""The variance-preserving path with linear β.

    ln α = −B/2, σ² = 1 − α², B(r) = β_start r + (β_end − β_start) r²/2, and r = 1 − t runs from 1
    to `cut`: at r = 0 ln κ is minus infinity (Song et al. 2021, arXiv 2011.13456).

    Parameters
    ----------
    beta_start, beta_end : float
        β at r = 0 and r = 1, positive.
    cut : float
        The last r, between 0 and 1.
    eta : float
    """

    beta_start: float = 0.1
    beta_end: float = 20.0
    cut: float = 1e-3
    eta: float = 1.0

    def __post_init__(self) -> None:
        _check(self.eta, self.cut)
        if not (0 < self.beta_start < math.inf and 0 < self.beta_end < math.inf):
            raise MolflowError(
                f"beta runs from {self.beta_start} to {self.beta_end}: give positive numbers."
            )

    @property
    def duration(self) -> float:
        """The last time, 1 − cut."""
        return 1.0 - self.cut

    def logarithms(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r = 1.0 - t
        integral = self.beta_start * r + 0.5 * (self.beta_end - self.beta_start) * r.square()
        return -0.5 * integral, 0.5 * torch.log(torch.expm1(integral))

    def time(self, log_kappa: Tensor) -> Tensor:
        integral = torch.log1p(torch.exp(2.0 * log_kappa))
        slope = self.beta_end - self.beta_start
        root = torch.sqrt(self.beta_start**2 + 2.0 * slope * integral)
        return 1.0 - 2.0 * integral / (self.beta_start + root)


@dataclass(frozen=True)
class StraightPath(GaussianPathReversal):
    """x = (1 − r) x₀ + r ε, r = 1 − t from 1 − `cut` to `cut`: flow matching's path with noise.

    At r = 1 α is 0 and at r = 0 σ is 0; the clock is cut before both, so t runs from `cut`.

    Parameters
    ----------
    cut : float
        Between 0 and 1/2.
    eta : float
        0 is the deterministic flow.
    """

    cut: float = 1e-3
    eta: float = 0.0

    def __post_init__(self) -> None:
        _check(self.eta, self.cut)
        if self.cut >= 0.5:
            raise MolflowError(f"cut is {self.cut}: give a number between 0 and 1/2.")

    @property
    def start(self) -> float:
        """The first time, cut."""
        return self.cut

    @property
    def duration(self) -> float:
        """The last time, 1 − cut."""
        return 1.0 - self.cut

    def logarithms(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.log(t), torch.log1p(-t) - torch.log(t)

    def time(self, log_kappa: Tensor) -> Tensor:
        return torch.sigmoid(-log_kappa)


def _check(eta: float, cut: float) -> None:
    if not 0 <= eta < math.inf:
        raise MolflowError(f"eta is {eta}: give a number that is not negative.")
    if not 0 < cut < 1:
        raise MolflowError(f"cut is {cut}: give a number between 0 and 1.")
