"""Langevin dynamics with inertia, under any force."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.devices import like
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, act, time_tensor
from molflow.sde.constants import Constants
from molflow.sde.overdamped import Force, check_masses, check_state
from molflow.units import thermal_energy


class UnderdampedLangevin(AdditiveSDE):
    r"""dX = V dt, dV = (F/m − γ V) dt + sqrt(2 γ kT/m) dW, the state stacking X and V.

    States are (B, 2, atoms, dimension), positions first (nm) and velocities second (nm/ps);
    increments are of the velocities alone, (B, atoms, dimension, size). With q = exp(−γ h)

        x_t = x + (1 − q)/γ v + [h − (1 − q)/γ]/γ F̄₂/m + σ E₂,
        v_t = q v + (1 − q)/γ F̄₁/m + σ E₁,   E₁ = F_γ (the exponential feature), E₂ = (I⁰ − E₁)/γ,

    where F̄₂ and F̄₁ are means of the force along the path with two different weights, so that
    the mean to be learned is n̄ = (F̄₂/m, F̄₁/m), in the shape of a state.

    Because lift and gain couple positions and velocities they are matrices here: `lift` and
    `gain` return (..., 2, 2).

    Parameters
    ----------
    force : callable
        Positions (B, atoms, dimension) in nm to forces in kJ/mol/nm.
    masses : Tensor, (atoms,)
        amu, positive.
    friction : float
        γ in 1/ps, positive.
    temperature : float
        K, positive.
    """

    inertial = True
    constants: Constants

    def __init__(self, force: Force, masses: Tensor, friction: float, temperature: float) -> None:
        check_masses(masses)
        self._set_state(force, masses[:, None], friction, temperature)

    def at(self, force: Force, friction: float, temperature: float) -> Self:
        """Return the equation in another state, on the same device."""
        found = copy.copy(self)
        found._set_state(force, self.masses, friction, temperature)
        return found

    def _set_state(
        self, force: Force, masses: Tensor, friction: float, temperature: float
    ) -> None:
        check_state(friction, temperature)
        self.force, self.friction = force, float(friction)
        sigma = torch.sqrt(2.0 * friction * thermal_energy(temperature) / masses)
        self.constants = Constants(masses=masses, sigma=sigma)

    @property
    def masses(self) -> Tensor:
        """(atoms, 1) in amu."""
        return self.constants.masses

    @property
    def sigma(self) -> Tensor:
        """sqrt(2 γ kT/m), (atoms, 1) in nm/ps^(3/2)."""
        return self.constants.sigma

    def basis(self, order: int) -> Basis:
        """Return the basis in which the martingale is exact."""
        return Basis(order, (self.friction,))

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = (F/m, F/m), (B, 2, atoms, dimension)."""
        acceleration = self.force(x[:, 0]) / self.masses
        return torch.stack([acceleration, acceleration], dim=1)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a and b as (2, 2) matrices, and the (atoms, 1) noise of the velocities."""
        a = torch.tensor([[0.0, 1.0], [0.0, -self.friction]], dtype=torch.float64)
        b = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        return a, b, self.sigma

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        h = time_tensor(t) - time_tensor(s)
        slowed, kept = self._slowed(h), torch.exp(-self.friction * h)
        one, zero = torch.ones_like(h), torch.zeros_like(h)
        return torch.stack([one, slowed, zero, kept], dim=-1).unflatten(-1, (2, 2))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        h = time_tensor(t) - time_tensor(s)
        slowed = self._slowed(h)
        # h − (1 − q)/γ loses its digits on short steps; its series does not.
        y = self.friction * h
        series = h * y * (1 / 2 - y / 6 * (1 - y / 4 * (1 - y / 5 * (1 - y / 6))))
        travelled = torch.where(y < 1e-2, series, h - slowed) / self.friction
        return torch.diag_embed(torch.stack([travelled, slowed], dim=-1))

    def kernel(self, u: Tensor, t: Tensor) -> Tensor:
        """Return σ ((1 − e^(−γ (t − u)))/γ, e^(−γ (t − u))), (*u.shape, 2, atoms, 1) float64."""
        left = (t - u).double()
        both = torch.stack([self._slowed(left), torch.exp(-self.friction * left)], dim=-1)
        return both[..., None, None] * self.sigma.double()

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        """Return σ (E₂, E₁), (B, 2, atoms, dimension)."""
        basis = increment.basis
        if self.friction not in basis.rates:
            raise MolflowError(
                f"The increment has {basis}, but the equation needs the exponential feature of "
                f"rate {self.friction:g}: take the basis that the equation proposes."
            )
        # E2 from the whitened features: I^0 − E1 would cancel on short steps.
        factor = increment.factor()
        row = basis.order + basis.rates.index(self.friction)
        rows = torch.stack([(factor[..., 0, :] - factor[..., row, :]) / self.friction,
                            factor[..., row, :]], dim=-2)  # fmt: skip
        z = increment.whitened()
        pattern = "...ck,...k->...c" if rows.ndim == 2 else "bck,b...k->b...c"
        both = torch.einsum(pattern, like(rows, z), z).movedim(-1, 1)
        return self.sigma.to(both) * both

    def apply(self, s: Tensor, t: Tensor, x: Tensor, mean: Tensor, increment: Increment) -> Tensor:
        """Return X_t; all states and means (B, 2, atoms, dimension)."""
        moved = act(self.lift(s, t), x) + act(self.gain(s, t), mean)
        return moved + self.martingale(s, t, increment)

    def drift(self, t: Tensor, x: Tensor, n: Tensor) -> Tensor:
        """Return (v, n − γ v), (B, 2, atoms, dimension)."""
        a, b, _ = self.rates(t)
        return act(a, x) + act(b, n)

    def noise(self, t: Tensor, change: Tensor) -> Tensor:
        """Return (0, σ dW), (B, 2, atoms, dimension), for dW of the velocities."""
        return torch.stack([torch.zeros_like(change), self.sigma.to(change) * change], dim=1)

    def _slowed(self, h: Tensor) -> Tensor:
        return -torch.expm1(-self.friction * h) / self.friction
