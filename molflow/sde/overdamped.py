"""Overdamped Langevin dynamics under any force."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, over_batch, time_tensor
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

    def __init__(self, force: Force, masses: Tensor, friction: float, temperature: float) -> None:
        check_langevin(masses, friction, temperature)
        self.force = force
        self.mobility = (1.0 / (masses * friction))[:, None]
        self.diffusion = torch.sqrt(2.0 * thermal_energy(temperature) * self.mobility)

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = F(x), (B, atoms, dimension)."""
        return self.force(x)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros_like(time_tensor(t)), self.mobility, self.diffusion

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.ones_like(time_tensor(t) - time_tensor(s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        """Return h/(m γ); (atoms, 1), or (B, atoms, 1) for times (B,)."""
        return (time_tensor(t) - time_tensor(s))[..., None, None] * self.mobility

    def kernel(self, u: Tensor, t: Tensor) -> Tensor:
        """Return g at each time u, (*u.shape, atoms, 1) float64."""
        return self.diffusion.double().expand(*u.shape, *self.diffusion.shape)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        return over_batch(self.diffusion, increment.increment) * increment.increment


def check_langevin(masses: Tensor, friction: float, temperature: float) -> None:
    """Raise `MolflowError` unless masses, friction and temperature are positive."""
    if masses.ndim != 1 or not bool((masses > 0).all()):
        raise MolflowError("masses must be positive, one for each atom, in amu.")
    for name, value, unit in (("friction", friction, "1/ps"), ("temperature", temperature, "K")):
        if not value > 0:
            raise MolflowError(f"{name} is {value}: give a positive number, in {unit}.")
