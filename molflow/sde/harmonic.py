r"""The cooling law: what a vibration loses to a map that sees N coefficients of the noise.

The best strong map given the coefficients of a step is the conditional mean. It leaves out the
noise that they do not resolve, step after step, so that a fast mode settles below the temperature
of its bath. For a harmonic mode the map and the temperature are known exactly. With vanishing
friction the temperature, averaged over position and velocity, is Σ_{n<N} (2n + 1) jₙ(π h/P)² of
the true one (jₙ: spherical Bessel functions), which is 1 to 0.2 % once N >= 3.2 h/P + 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.exponential import projection
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.quadrature import legendre_rule

#: The largest h times the fastest rate for which the quadrature keeps ten digits.
_FASTEST = 70.0


@dataclass(frozen=True)
class HarmonicMode:
    r"""dX = V dt, dV = (−ω² X − γ V) dt + sqrt(2γ) dW with ω = 2π/P, in units where kT/m = 1.

    States are (..., 2), position and velocity last; at temperature their variances are 1/ω² and 1.

    Parameters
    ----------
    period : float
        P, positive.
    friction : float
        γ, positive, per unit of time.
    """

    period: float
    friction: float

    def __post_init__(self) -> None:
        for name, value in (("period", self.period), ("friction", self.friction)):
            if not 0 < value < math.inf:
                raise MolflowError(f"{name} is {value}: give a positive, finite number.")

    @property
    def frequency(self) -> float:
        """ω, radians per unit of time."""
        return 2.0 * math.pi / self.period

    def lift(self, h: float) -> Tensor:
        """Return exp(A h), what a step does to a state; (2, 2) float64."""
        self._check(h)
        return self._lift(torch.tensor(h, dtype=torch.float64))

    def projection(self, h: float, order: int) -> Tensor:
        """Return c with E[M | I⁰..I^{order−1}] = Σ c_n Iⁿ, M the martingale; (2, order) float64.

        c_n = (2n + 1) ∫₀¹ exp(A h (1 − θ)) (0, sqrt(2γ)) P_n(2θ − 1) dθ.
        """
        self._check(h)
        Basis(order)  # refuses an order that there is not
        theta, weight, legendre = legendre_rule(order)
        kernel = math.sqrt(2.0 * self.friction) * self._lift(h * (1.0 - theta))[..., 1]
        return (kernel.mT * weight) @ legendre

    def step(self, state: Tensor, increment: Increment) -> Tensor:
        """Return E[state at the end | state, coefficients]; states (B, *shape, 2).

        Parameters
        ----------
        increment : Increment
            Features (B, *shape, size), one length for the whole batch.
        """
        coefficients = increment.coefficients
        if state.shape != (*coefficients.shape[:-1], 2) or increment.h.ndim:
            raise MolflowError(
                f"state has shape {tuple(state.shape)}, the increment "
                f"{tuple(increment.features.shape)} and its length {tuple(increment.h.shape)}: "
                "give (B, *shape, 2), (B, *shape, size) and one length."
            )
        h = float(increment.h)
        lift, seen = self.lift(h), self.projection(h, increment.basis.order)
        return state @ lift.mT.to(state) + coefficients @ seen.mT.to(state)

    def covariance(self, h: float, order: int) -> Tensor:
        """Return the stationary covariance Σ = E Σ Eᵀ + Σ_n c_n c_nᵀ h/(2n + 1) of the map.

        Of position and velocity under steps of length h with `order` coefficients; (2, 2) float64.
        """
        lift, scaled = self.lift(h), self.projection(h, order)
        scaled = scaled * Basis(order).legendre_scales(torch.tensor(h, dtype=torch.float64))
        system = torch.eye(4, dtype=torch.float64) - torch.kron(lift, lift)
        return torch.linalg.solve(system, (scaled @ scaled.mT).flatten()).reshape(2, 2)

    def temperatures(self, h: float, order: int) -> tuple[float, float]:
        """Return T_x/T and T_v/T, from the variances of position and of velocity."""
        position, velocity = self.covariance(h, order).diagonal().tolist()
        return self.frequency**2 * position, velocity

    def _lift(self, h: Tensor) -> Tensor:
        rows = [[0.0, 1.0], [-(self.frequency**2), -self.friction]]
        drift = torch.tensor(rows, dtype=torch.float64)
        return torch.linalg.matrix_exp(h[..., None, None] * drift)

    def _check(self, h: float) -> None:
        """Refuse a step of no length, and one too long for the quadrature."""
        half = 0.5 * self.friction
        fastest = half + math.sqrt(half**2 - self.frequency**2) if half > self.frequency else 0.0
        longest = _FASTEST / max(fastest, self.frequency)
        if not 0 < h <= longest:
            raise MolflowError(
                f"h is {h}: give a positive step, for this mode of at most {longest:.3g}, where "
                "the coefficients of its noise can be computed."
            )


def overdamped_temperature(q: float, order: int) -> float:
    r"""Return T_x/T of dX = −X/τ dt + sqrt(2/τ) dW walked in steps h = q τ by its mean map.

    (2q/(1 − e^(−2q))) Σ_{n<N} (2n + 1) (e^(−q/2) iₙ(q/2))², iₙ the modified spherical Bessel
    functions. The velocity of a heavily damped `HarmonicMode` obeys the same law with q = γh.

    Parameters
    ----------
    q : float
        Step over relaxation time, positive.
    order : int
        The number N of coefficients, 1 to 32.
    """
    if not 0 < q < math.inf:
        raise MolflowError(f"q is {q}: give a positive, finite number.")
    widths = Basis(order).legendre_scales(torch.tensor(1.0))
    seen = projection(torch.tensor(q, dtype=torch.float64), order) * widths
    return float(seen.square().sum()) * 2.0 * q / -math.expm1(-2.0 * q)
