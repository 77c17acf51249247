"""The strong flow map of overdamped Langevin dynamics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.flow_map.centring import centre
from molflow.maps.dynamics.flow_map import CLOCK, DynamicsFlowMap
from molflow.maps.dynamics.scales import LangevinScales, lengths, without_drift
from molflow.maps.overdamped.mean_point import OverdampedMeanPointMap
from molflow.sde.overdamped import OverdampedLangevin
from molflow.units import thermal_energy


class OverdampedFlowMap(DynamicsFlowMap):
    r"""Strong flow map of `OverdampedLangevin`: friction, noise and temperature by formula.

    The network supplies the mean force F̄ along a step. Without force atoms are displaced by
    sqrt(2kT/(mγ)) W, so it is given the positions and the whitened coefficients times
    sqrt(T/T₀ h'/(h' + τ)): the displacements in units of their thermal size. Time counts in units
    of the friction: a step at friction γ is one of h' = h γ₀/γ at that of reference, exactly. τ is
    the shortest relaxation time m γ₀ kT₀/f² of an atom, and with the output a

        F̄ = f a / sqrt(1 + h'/(2τ)),

    under the root with τ of the atom: displacements of thermal size bound the force on average
    over a long step. Forces on the centre of mass are projected out, as in `LangevinFlowMap`.

    States are (B, atoms, 3) in nm, increments (B, atoms, 3, order), times in ps. Only t − s
    matters.

    Parameters
    ----------
    network : nn.Module
        ``(positions, vectors, s, t) -> (batch, atoms, 3)`` for `vectors` of order inputs.
    scales : LangevinScales
    order : int
        Number of Legendre coefficients of the increments.
    temperature, friction : float, optional
        K and 1/ps; by default those of the state of reference.
    """

    outputs = 1

    forces: Tensor
    relaxation: Tensor
    sde: OverdampedLangevin

    def __init__(
        self,
        network: nn.Module,
        scales: LangevinScales,
        order: int,
        temperature: float | None = None,
        friction: float | None = None,
    ):
        super().__init__(network, scales, order, temperature, friction)
        masses, forces = (
            torch.tensor(values, dtype=torch.float64) for values in (scales.masses, scales.forces)
        )
        self.basis = Basis(order)
        state = self.force, masses, self.friction, self.temperature
        self._set_equation(OverdampedLangevin(*state))
        self.register_buffer("forces", forces, persistent=False)
        energy = thermal_energy(scales.temperature)
        times = masses * scales.friction * energy / forces.square()
        self.register_buffer("relaxation", times, persistent=False)

    def _set_equation(self, sde: OverdampedLangevin) -> None:
        self.sde = sde

    @staticmethod
    def inputs(order: int) -> int:
        """Return how many vectors per atom the network is given besides positions."""
        return order

    @property
    def longest_lag(self) -> float:
        """The longest step that the map was trained for, at its friction, ps."""
        return self.scales.longest_lag * self.friction / self.scales.friction

    def thermal_weight(self, h: Tensor) -> Tensor:
        """Return sqrt(w) of `ThermalNorm`, (batch, atoms)."""
        slow = self.scales.friction / self.friction
        ratio = slow * h[:, None] / self.relaxation
        return torch.sqrt(1.0 + ratio**2) / self.forces

    def short_map(self) -> OverdampedMeanPointMap:
        """Return the map of short steps that follows from the force alone."""
        return OverdampedMeanPointMap(self)

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return F̄, (batch, atoms, 3) in kJ/mol/nm, for whitened features
        (batch, atoms, 3, order)."""
        h = lengths(s, t, x, self.longest_lag)
        h = h * (self.scales.friction / self.friction)
        ratio = self.temperature / self.scales.temperature
        visible = torch.sqrt(ratio * h / (h + self.relaxation.min()))
        seen = visible.to(x).reshape(-1, 1, 1, 1) * without_drift(whitened, self.root_masses)
        ends = torch.zeros_like(h), CLOCK * h / self.scales.longest_lag
        out = self.network(centre(x) / self.scales.length, seen, *(end.to(x) for end in ends))
        size = self.forces * torch.rsqrt(1.0 + 0.5 * h[:, None] / self.relaxation)
        roots = self.root_masses.to(x)[:, None]
        return roots * without_drift(size.to(x)[..., None] * out / roots, self.root_masses)

    def constant(self, forces: Tensor) -> Tensor:
        """Return F̄ of a force (batch, atoms, 3) in kJ/mol/nm that stays what it is."""
        return forces

    def start(self, positions: Tensor, normal: Tensor) -> Tensor:
        """Return states at these positions, which have no velocities."""
        return positions

    def force(self, positions: Tensor) -> Tensor:
        """Return the learned force, that of a step of no length; shapes as in `LangevinFlowMap`."""
        now = torch.zeros((), dtype=torch.float64, device=positions.device)
        return self.mean(now, now, positions, self.no_features(positions))
