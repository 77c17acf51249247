"""The strong flow map of Langevin dynamics with inertia."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.flow_map.centring import centre
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.scales import lengths, without_drift
from molflow.maps.langevin.free_path import free_velocity
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.mean_point import MeanPointMap


class LangevinFlowMap(InertialFlowMap):
    r"""Strong flow map of `UnderdampedLangevin`: friction, noise and temperature by formula.

    The network supplies the two mean forces F̄₂ and F̄₁ along a step. It is told where the force is
    met: the positions, and the Legendre coefficients c_n of the free velocity
    (`molflow.maps.langevin.free_path`), which follow by formula from velocities, increment,
    friction and temperature. Each is divided by its standard deviation in thermal equilibrium at
    the state of reference and multiplied by h/sqrt(h² + τ²), τ the shortest of
    `LangevinScales.response_times`, so that the force of a step of no length depends on positions
    alone. With outputs a and b,

        F̄₁ = f a / sqrt(1 + (h/τ)²),   F̄₂ = f (a + b h/sqrt(h² + τ²)) / sqrt(1 + (h/τ)²),

    where under the roots τ is that of the atom: momenta of thermal size bound the force on average
    over a long step. Forces on the centre of mass are projected out: there is no external field,
    and neither the place nor the velocity of the molecule as a whole is shown to the network.

    States are (B, 2, atoms, 3), positions (nm) and velocities (nm/ps), increments
    (B, atoms, 3, size), times in ps. Only t − s matters.

    Parameters
    ----------
    network : nn.Module
        ``(positions, vectors, s, t) -> (batch, atoms, 3, 2)`` for `vectors` of order + 2 inputs.
    scales : LangevinScales
    order : int
        Number of Legendre coefficients of the increments.
    temperature, friction : float, optional
        K and 1/ps; by default those of the state of reference.
    """

    outputs = 2

    @staticmethod
    def inputs(order: int) -> int:
        """Return how many vectors per atom the network is given besides positions."""
        return order + 2

    def short_map(self) -> MeanPointMap:
        """Return the map of short steps that follows from the force alone."""
        return MeanPointMap(self)

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return n̄ = (F̄₂, F̄₁)/m, (batch, 2, atoms, 3) in nm/ps², for whitened features
        (batch, atoms, 3, size)."""
        h = lengths(s, t, x, self.longest_lag)
        visible = h / torch.sqrt(h.square() + self.response.min().square())
        seen = visible.to(x).reshape(-1, 1, 1, 1)
        vectors = seen * self.free_coefficients(h, x[:, 1], whitened)
        positions = centre(x[:, 0]) / self.scales.length
        ends = torch.zeros_like(h), CLOCK * h / self.longest_lag
        out = self.network(positions, vectors, *(end.to(x) for end in ends))
        first = out[..., 0]
        both = torch.stack([first + seen[..., 0] * out[..., 1], first], dim=1)
        # f/(m sqrt(1 + (h/τ)²)) in units of the thermal velocity over time.
        size = torch.rsqrt(self.response.square() + h[:, None].square()).to(x)
        both = without_drift((size[:, None, :, None] * both).flatten(0, 1), self.root_masses)
        return self.thermal_velocity(x) * both.unflatten(0, (-1, 2))

    def free_coefficients(self, h: Tensor, velocities: Tensor, whitened: Tensor) -> Tensor:
        """Return the coefficients of the free velocity as the network sees them.

        Parameters
        ----------
        h : Tensor, (batch,) float64
            ps.
        velocities : Tensor, (batch, atoms, 3)
            nm/ps.
        whitened : Tensor, (batch, atoms, 3, size)

        Returns
        -------
        Tensor, (batch, atoms, 3, order + 2)
            Of unit size in thermal equilibrium at the state of reference, whatever h; less what
            moves all atoms alike.
        """
        # The ratio to the size has a limit for short steps, which rounding must not drown.
        h = h.clamp(min=1e-6 * self.longest_lag)
        known = free_velocity(self.basis, h, self.longest_lag)
        size = self._reference_size(h)[..., None]
        start = velocities / self.thermal_velocity(velocities)
        by_start, by_noise = (known / size).split([1, self.basis.size], dim=-1)
        ratio = self.temperature / self.scales.temperature
        by_noise = (2.0 * self.friction * ratio) ** 0.5 * by_noise
        matrix = torch.cat([by_start, by_noise], dim=-1).to(whitened)
        known = torch.cat([start.unsqueeze(-1), whitened], dim=-1)
        seen = (known.flatten(1, 2) @ matrix.mT).unflatten(1, (-1, 3))
        return without_drift(seen, self.root_masses)

    def constant(self, forces: Tensor) -> Tensor:
        """Return n̄ of a force (batch, atoms, 3) in kJ/mol/nm that stays what it is."""
        acceleration = forces / self.sde.masses.to(forces)
        return torch.stack([acceleration, acceleration], dim=1)

    def force(self, positions: Tensor) -> Tensor:
        state = torch.stack([positions, torch.zeros_like(positions)], dim=1)
        now = torch.zeros((), dtype=torch.float64, device=positions.device)
        mean = self.mean(now, now, state, self.no_features(state))[:, 1]
        return self.root_masses.square().to(mean)[:, None] * mean

    def _reference_size(self, h: Tensor) -> Tensor:
        """Standard deviations of the coefficients in units of the thermal velocity, (B, N + 2)."""
        reference = Basis(self.order, (self.scales.friction,))
        known = free_velocity(reference, h, self.longest_lag).square()
        return torch.sqrt(known[..., 0] + 2.0 * self.scales.friction * known[..., 1:].sum(-1))
