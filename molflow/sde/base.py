"""Equations with additive noise, written around their exactly solvable part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.devices import like
from molflow.errors import MolflowError
from molflow.sde.constants import Constants
from molflow.sde.quadrature import legendre_rule

#: n(t, x): the part of the drift that is not solved exactly; (B, *shape) from () or (B,) and x.
Nonlinear = Callable[[Tensor, Tensor], Tensor]


class AdditiveSDE(ABC):
    r"""dX = (a(t) X + b(t) n(t, X)) dt + g(t) dW, all known but n.

    With Φ(s, t) = exp ∫ₛᵗ a, exactly,

        X_t = Φ(s, t) x + G(s, t) n̄ + M,   G = ∫ₛᵗ Φ(u, t) b(u) du,   M = ∫ₛᵗ Φ(u, t) g(u) dW_u,

    where n̄ is the mean of n(u, X_u) along the path with the weight Φ(u, t) b(u) / G. A network
    has to learn n̄ alone. For a reverse diffusion n is the denoiser and a = −b, so that
    G = 1 − Φ.

    Times are tensors () or (B,) or numbers; states are (B, *shape). What depends on time has the
    shape of the times, or at least two axes that broadcast against a state (one value per atom).

    The defaults of `gain`, `martingale_projection` and `martingale_variance` are integrals by
    Gauss-Legendre quadrature in float64, those of equations with closed forms are exact. Where
    noise differs between atoms or components, `kernel` and what is made of it have their axes
    after those of the times.

    Attributes
    ----------
    constants : Constants, optional
        The tensors of the equation, if it has some. A flow map takes them along to a device.
    inertial : bool
        Whether a state has positions and velocities, (B, 2, *shape).
    """

    constants: Constants | None = None
    inertial: bool = False

    @abstractmethod
    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a(t), b(t) and g(t)."""

    @abstractmethod
    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        """Return Φ(s, t)."""

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        """Return G(s, t), what one unit of n adds over the step."""
        u, weight = _nodes(s, t)
        return (self.lift(u, _after(t)) * self.rates(u)[1] * weight).sum(-1)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        """Return M over the step, (B, *shape): exactly, or its mean given the coefficients."""
        factors = self.martingale_projection(s, t, increment.basis.order)
        coefficients = increment.coefficients
        if factors.ndim == 2:
            factors = factors.reshape(len(factors), *[1] * (coefficients.ndim - 2), -1)
        return (like(factors, coefficients) * coefficients).sum(-1)

    def martingale_projection(self, s: Tensor, t: Tensor, order: int) -> Tensor:
        """Return c_n with E[M | I^0..I^{order-1}] = sum_n c_n I^n; (..., order) float64."""
        u, _ = _nodes(s, t)
        _, weight, legendre = legendre_rule(order, u.device)
        return (self._kernel_at(u, t) * weight) @ legendre

    def martingale_variance(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the variance of M, float64; less sum c_n^2 h/(2n + 1) it is what is unseen."""
        u, _ = _nodes(s, t)
        mean = self._kernel_at(u, t).square() @ legendre_rule(0, u.device)[1]
        h = (time_tensor(t) - time_tensor(s)).double()
        return h.reshape(h.shape + (1,) * (mean.ndim - h.ndim)) * mean

    def apply(self, s: Tensor, t: Tensor, x: Tensor, mean: Tensor, increment: Increment) -> Tensor:
        """Return X_t from X_s = x and the mean of n along the path, `mean` (B, *shape)."""
        known = over_batch(self.lift(s, t), x) * x + self.martingale(s, t, increment)
        return known + over_batch(self.gain(s, t), x) * mean

    def drift(self, t: Tensor, x: Tensor, n: Tensor) -> Tensor:
        """Return a(t) x + b(t) n; (B, *shape)."""
        a, b, _ = self.rates(t)
        return over_batch(a, x) * x + over_batch(b, x) * n

    def noise(self, t: Tensor, change: Tensor) -> Tensor:
        """Return g(t) times a change of the Brownian path, in the shape of a state."""
        return over_batch(self.rates(t)[2], change) * change

    def kernel(self, u: Tensor, t: Tensor) -> Tensor:
        """Return Φ(u, t) g(u), that is M = ∫ kernel dW; in the shape of u, float64."""
        return self.lift(u, t).double() * self.rates(u)[2].double()

    def _kernel_at(self, u: Tensor, t: Tensor) -> Tensor:
        """The kernel at times u (..., nodes), with the nodes as last axis."""
        return self.kernel(u, _after(t)).movedim(u.ndim - 1, -1)


def time_tensor(t: Tensor | float) -> Tensor:
    """Return t as a tensor; a plain number in float64, so that no digit of it is lost."""
    return t if torch.is_tensor(t) else torch.tensor(t, dtype=torch.float64)


def over_batch(value: Tensor | float, x: Tensor) -> Tensor:
    """Give a number, () or (B,) the axes and the dtype of x, (B, *shape).

    A value with two axes or more is taken to broadcast against x as it is.
    """
    if not torch.is_tensor(value):
        return torch.full((), value, dtype=x.dtype, device=x.device)
    # The device reads a single number of the processor with its command.
    value = like(value, x) if value.ndim else value.to(x.dtype)
    return value.reshape(value.shape + (1,) * (x.ndim - 1)) if value.ndim == 1 else value


def act(matrix: Tensor, state: Tensor) -> Tensor:
    """Apply (r, c) or (B, r, c) to axis 1 of a state (B, c, *shape)."""
    matrix = like(matrix, state)
    pattern = "ij,bj...->bi..." if matrix.ndim == 2 else "bij,bj...->bi..."
    return torch.einsum(pattern, matrix, state)


def exponential_feature(increment: Increment, rate: float) -> Tensor:
    """Return F_rate of the increment, (B, *shape).

    Raises
    ------
    MolflowError
        If the basis of the increment lacks the rate.
    """
    if rate not in increment.basis.rates:
        raise MolflowError(
            f"The increment has {increment.basis}, but the equation needs the exponential "
            f"feature of rate {rate:g}: take the basis that the equation proposes."
        )
    return increment.exponentials[..., increment.basis.rates.index(rate)]


def _after(t: Tensor | float) -> Tensor:
    return time_tensor(t).double()[..., None]


def _nodes(s: Tensor | float, t: Tensor | float) -> tuple[Tensor, Tensor]:
    """Nodes in [s, t] and their weights, (..., nodes) float64."""
    s, t = time_tensor(s).double(), time_tensor(t).double()
    h = (t - s)[..., None]
    theta, weight, _ = legendre_rule(0, h.device)
    return s[..., None] + h * theta, h * weight
