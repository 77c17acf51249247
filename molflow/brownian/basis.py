"""Which numbers describe a Brownian path on one step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.exponential import (
    MAX_ORDER_WITH_RATES,
    projection,
    residual_factor,
)
from molflow.brownian.legendre import MAX_ORDER
from molflow.errors import MolflowError


@dataclass(frozen=True)
class Basis:
    """Legendre coefficients and exponential features of the path on a step of length h.

    I^n = int_s^t P_n(2 (u - s)/h - 1) dW_u for n = 0..order-1 (variance h/(2n + 1), independent)
    and F_p = int_s^t exp(-p (t - u)) dW_u for each rate p. The features are ordered
    I^0..I^{order-1}, F_p in the order of `rates`. The set is closed under joining two steps
    (Foster, Lyons, Oberhauser, SIAM J. Numer. Anal. 58, 1393 (2020) for the coefficients).

    Parameters
    ----------
    order : int
        The number of Legendre coefficients, 1 to 32; 1 to 16 where there are rates.
    rates : tuple of float
        Distinct positive rates, per unit of time.
    """

    order: int
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(float(rate) for rate in self.rates))
        most = MAX_ORDER_WITH_RATES if self.rates else MAX_ORDER
        if not isinstance(self.order, int) or not 1 <= self.order <= most:
            kind = "with" if self.rates else "without"
            raise MolflowError(
                f"order is {self.order}: give a whole number from 1 to {most}, the most that a "
                f"basis {kind} rates can have."
            )
        if len(set(self.rates)) < len(self.rates) or not all(0 < p < 1e300 for p in self.rates):
            raise MolflowError(
                f"rates are {self.rates}: give distinct, positive, finite numbers, or none."
            )

    @property
    def size(self) -> int:
        """The number of features."""
        return self.order + len(self.rates)

    def scaled_steps(self, h: Tensor) -> Tensor:
        """Return q = p h for each rate; (..., P) float64 for h of shape (...)."""
        h = h.double()
        # Multiplied one by one: a table of the rates would have to be sent to the device.
        columns = [rate * h for rate in self.rates]
        return torch.stack(columns, dim=-1) if columns else h.new_zeros(*h.shape, 0)

    def legendre_scales(self, h: Tensor) -> Tensor:
        """Return the standard deviations sqrt(h/(2n + 1)) of I^n; (..., order) float64."""
        n = torch.arange(self.order, dtype=torch.float64, device=h.device)
        return torch.sqrt(h.double()[..., None] / (2.0 * n + 1.0))

    def cholesky(self, h: Tensor) -> Tensor:
        """Return the lower factor L of the covariance: features = L z with z ~ N(0, 1) iid.

        Parameters
        ----------
        h : Tensor (...)
            Step lengths, not negative.

        Returns
        -------
        Tensor (..., size, size)
            In the dtype of `h`; computed in float64, with full relative accuracy of every entry
            as h goes to 0, where the residuals of F_p fall like h^(order + 1/2).
        """
        scales = self.legendre_scales(h)
        top = torch.diag_embed(scales)
        if not self.rates:
            return top.to(h.dtype)
        q = self.scaled_steps(h)
        seen = projection(q, self.order) * scales[..., None, :]
        size, factor = residual_factor(q, self.order)
        residual = torch.sqrt(h.double())[..., None, None] * size[..., None] * factor
        zeros = top.new_zeros(*h.shape, self.order, len(self.rates))
        upper = torch.cat([top, zeros], dim=-1)
        lower = torch.cat([seen, residual], dim=-1)
        return torch.cat([upper, lower], dim=-2).to(h.dtype)
