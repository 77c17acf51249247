"""Overdamped Langevin dynamics under any force."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.devices import upload
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, over_batch, time_tensor
from molflow.sde.constants import Constants
from molflow.units import thermal_energy

#: Positions (B, atoms, dimension) in nm to forces of that shape in kJ/mol/nm.
Force = Callable[[Tensor], Tensor]


class OverdampedLangevin(AdditiveSDE):
    """dX = F/(m γ) dt + sqrt(2 kT/(m γ)) dW; stationary density exp(−U/kT).

    n is the force itself, so that the map learns mean forces; lift 1, gain h/(m γ) and the
    martingale g I⁰ are exact.

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

    constants: Constants

    def __init__(self, force: Force, masses: Tensor, friction: float, temperature: float) -> None:
        check_masses(masses)
        self._set_state(force, masses, friction, temperature)

    def at(self, force: Force, friction: float, temperature: float) -> Self:
        """Return the equation in another state, on the same device."""
        found = copy.copy(self)
        found._set_state(force, self.constants.masses, friction, temperature)
        return found

    def _set_state(
        self, force: Force, masses: Tensor, friction: float, temperature: float
    ) -> None:
        check_state(friction, temperature)
        self.force = force
        mobility = (1.0 / (masses * friction))[:, None]
        diffusion = torch.sqrt(2.0 * thermal_energy(temperature) * mobility)
        self.constants = Constants(masses=masses, mobility=mobility, diffusion=diffusion)

    @property
    def mobility(self) -> Tensor:
        """1/(m γ), (atoms, 1) in ps/amu."""
        return self.constants.mobility

    @property
    def diffusion(self) -> Tensor:
        """sqrt(2 kT/(m γ)), (atoms, 1) in nm/ps^½."""
        return self.constants.diffusion

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = F(x), (B, atoms, dimension)."""
        return self.force(x)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros_like(time_tensor(t)), self.mobility, self.diffusion

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.ones_like(time_tensor(t) - time_tensor(s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        """Return h/(m γ); (atoms, 1), or (B, atoms, 1) for times (B,)."""
        h = (time_tensor(t) - time_tensor(s))[..., None, None]
        return upload(h, self.mobility.device) * self.mobility

    def kernel(self, u: Tensor, t: Tensor) -> Tensor:
        """Return g at each time u, (*u.shape, atoms, 1) float64."""
        return self.diffusion.double().expand(*u.shape, *self.diffusion.shape)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        return over_batch(self.diffusion, increment.increment) * increment.increment


def check_masses(masses: Tensor) -> None:
    """Raise `MolflowError` unless masses are positive, one for each atom."""
    if masses.ndim != 1 or not bool((masses > 0).all()):
        raise MolflowError("masses must be positive, one for each atom, in amu.")


def check_state(friction: float, temperature: float) -> None:
    """Raise `MolflowError` unless friction and temperature are positive."""
    for name, value, unit in (("friction", friction, "1/ps"), ("temperature", temperature, "K")):
        if not value > 0:
            raise MolflowError(f"{name} is {value}: give a positive number, in {unit}.")
