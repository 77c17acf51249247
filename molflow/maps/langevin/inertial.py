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

#: A velocity that no atom has in equilibrium, in thermal widths, and a kinetic temperature that no
#: molecule has, in that of the bath: a state that has come so far would teach nothing of use.
_TOO_FAST, _TOO_HOT = 6.0, 3.0


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

    response: Tensor
    force_sizes: Tensor
    sde: UnderdampedLangevin

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
        sizes = torch.tensor(scales.forces, dtype=torch.float64)
        self.register_buffer("force_sizes", sizes, persistent=False)
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

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of a state: of positions and velocities, (2, atoms, 3)."""
        return 2, *super().state_shape

    def positions(self, states: Tensor) -> Tensor:
        """Return the positions of states (batch, 2, atoms, 3), nm."""
        return states[:, 0]

    def whole(self, states: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """Return which states a molecule may be in, (batch,) bool, and their mean temperature
        over that of reference."""
        whole, _ = super().whole(states)
        momenta = states[:, 1] * self.root_masses.to(states)[:, None]
        energies = momenta.flatten(1).square()
        energies = energies / thermal_energy(self.scales.temperature)
        means = energies.mean(1)
        whole &= (energies.amax(1) < _TOO_FAST**2) & (means < _TOO_HOT)
        mean = torch.where(whole, means, 0.0).sum() / whole.sum().clamp(min=1)
        return whole, {"temperature": (mean, len(states))}

    def kinetic_temperature(self, states: Tensor) -> Tensor:
        """Return the kinetic temperature of states over that of the bath, ()."""
        momenta = states[:, 1] * self.root_masses.to(states)[:, None]
        return momenta.square().mean() / thermal_energy(self.temperature)

    def thermal_weight(self, h: Tensor) -> Tensor:
        """Return sqrt(w₂) and sqrt(w₁) of `ThermalNorm` for n̄ = F̄/m, (batch, 2, atoms)."""
        ratio = h[:, None] / self.response
        both = torch.stack([0.5 * ratio**2, ratio], dim=1)
        masses = self.root_masses.square()
        return torch.sqrt(1.0 + both**2) * masses / self.force_sizes

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
