"""What the maps of Langevin dynamics with inertia have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.free_path import check_rate
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.units import thermal_energy


class InertialFlowMap(DynamicsFlowMap):
    """A strong flow map of `UnderdampedLangevin`.

    States are (B, 2, atoms, 3), positions (nm) and velocities (nm/ps), increments
    (B, atoms, 3, size), times in ps. Only t − s matters.

    Parameters are those of `DynamicsFlowMap`.

    Attributes
    ----------
    response : Tensor, (atoms,)
        `LangevinScales.response_times`, ps.
    """

    def __init__(
        self,
        network: nn.Module,
        scales: LangevinScales,
        order: int,
        temperature: float | None = None,
        friction: float | None = None,
    ):
        super().__init__(network, scales, order, temperature, friction)
        times = torch.tensor(scales.response_times, dtype=torch.float64)
        self.register_buffer("response", times, persistent=False)
        masses = torch.tensor(scales.masses, dtype=torch.float64)
        state = self.force, masses, self.friction, self.temperature
        self._set_equation(UnderdampedLangevin(*state))

    def _set_equation(self, sde: UnderdampedLangevin) -> None:
        self.sde, self.basis = sde, sde.basis(self.order)
        # Refused here rather than at the first step.
        check_rate(self.basis, self.longest_lag)

    @property
    def longest_lag(self) -> float:
        """The longest step that the map was trained for, ps."""
        return self.scales.longest_lag

    @abstractmethod
    def force(self, positions: Tensor) -> Tensor:
        """Return the force, that of a step of no length.

        Parameters
        ----------
        positions : Tensor, (batch, atoms, 3)
            nm.

        Returns
        -------
        Tensor, (batch, atoms, 3)
            kJ/mol/nm.
        """

    def no_features(self, x: Tensor) -> Tensor:
        """Return whitened features that are all zero, (batch, atoms, 3, size)."""
        return super().no_features(x[:, 1])

    def start(self, positions: Tensor, normal: Tensor) -> Tensor:
        """Return states at these positions, nm, with thermal velocities made of standard normal
        numbers; all (batch, atoms, 3)."""
        width = (thermal_energy(self.temperature) ** 0.5 / self.root_masses).to(normal)
        return torch.stack([positions, width[:, None] * normal], dim=1)

    def thermal_velocity(self, like: Tensor) -> Tensor:
        """Return sqrt(kT/m) in the state of reference, (atoms, 1) nm/ps, in the dtype of `like`."""
        energy = thermal_energy(self.scales.temperature)
        return (energy**0.5 / self.root_masses).to(like)[:, None]
