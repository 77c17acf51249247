"""Short steps of Langevin dynamics from the force alone, to which long ones are tied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from molflow.brownian.legendre import legendre_integrals
from molflow.devices import upload
from molflow.flow_map.base import FlowMap
from molflow.maps.langevin.free_path import free_velocity
from molflow.sde.base import time_tensor
from molflow.sde.quadrature import legendre_rule
from molflow.sde.underdamped import UnderdampedLangevin

if TYPE_CHECKING:
    from molflow.maps.langevin.flow_map import LangevinFlowMap

#: Polynomials that hold the gain of a short step, which is one of degree 2 but for the friction.
_SMOOTH = 12


class MeanPointMap(FlowMap):
    r"""Map of a short step: each mean force is the force at the mean of the positions it averages.

    F̄ = ∫ ρ(u) F(X_u) du is F(∫ ρ(u) X_u du) for a force linear in the positions. These are the
    free path given the features, and the response to the force, of which a first such step says
    how it changes with time: with F₀ at the start and F₁ at the mean of the positions under F₀,

        X_u = x + ∫ₛᵘ w + G₂(u − s) F₀/m + ∫₀^(u−s) G₂ dy (F₁ − F₀)/(m ū),

    w the free velocity, G₂ the gain of the positions and ū the mean time of F₁. With inertia the
    weights are ρ₁ ∝ e^(−γ(t−u)) and ρ₂ ∝ 1 − e^(−γ(t−u)), those of `UnderdampedLangevin`. Without
    the change of the force a vibration of rate ω would lose the part (ωh)⁴/24 of its energy in a
    step, and the bath gives back no more than γh: a bond with hydrogen would have half of its
    temperature at γ = 1/ps and h = 0.6 fs.

    Parameters
    ----------
    flow_map : LangevinFlowMap
        Whose force it is: what the map says of steps of no length.
    """

    sde: UnderdampedLangevin

    def __init__(self, flow_map: LangevinFlowMap):
        super().__init__()
        self.flow_map, self.sde, self.basis = flow_map, flow_map.sde, flow_map.basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        h = upload((time_tensor(t) - time_tensor(s)).double(), x.device).expand(len(x))
        masses = self.sde.masses.to(x)
        shares = self._shares(h)
        points = x[:, :1] + self._free(h, shares, x[:, 1], whitened)
        constant, ramp = self._responses(h, shares)
        first = self.flow_map.force(x[:, 0]) / masses
        points = points + constant[..., None, None].to(x) * first[:, None]
        change = self.flow_map.force(points[:, 1]) / masses - first
        points = points + ramp[..., None, None].to(x) * change[:, None]
        forces = self.flow_map.force(points.flatten(0, 1)).unflatten(0, (-1, 2))
        return forces / masses

    def _shares(self, h: Tensor) -> Tensor:
        """Weights ρ₂ and ρ₁ times those of the quadrature, (B, 2, nodes); their sums are 1."""
        node, weight, _ = legendre_rule(1, h.device)
        late = self.flow_map.friction * h[:, None] * (1.0 - node)
        shares = weight * torch.stack([-torch.expm1(-late), torch.exp(-late)], dim=1)
        return shares / shares.sum(-1, keepdim=True)

    def _free(self, h: Tensor, shares: Tensor, velocities: Tensor, whitened: Tensor) -> Tensor:
        """Mean displacement without force, with both weights, (B, 2, atoms, 3)."""
        count = self.basis.order + 2
        known = free_velocity(self.basis, h, self.flow_map.longest_lag)
        node, _, _ = legendre_rule(1, h.device)
        known = h[:, None, None] * (shares @ legendre_integrals(node, count)) @ known
        start, noise = known.to(whitened).split([1, self.basis.size], dim=-1)
        moved = self.sde.sigma.to(whitened) * torch.einsum("bkn,baxn->bkax", noise, whitened)
        return start[..., None] * velocities[:, None] + moved

    def _responses(self, h: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Mean displacement by an acceleration of 1, and by one that has grown to 1 at ū, with
        both weights, (B, 2) in ps²."""
        node, weight, legendre = legendre_rule(_SMOOTH, h.device)
        later = h[:, None] * node
        gain = self.sde.gain(torch.zeros_like(later), later)[..., 0, 0]
        # What answers to a ramp is the integral of what answers to a step.
        summed = h[:, None] * ((gain * weight) @ legendre) @ legendre_integrals(node, _SMOOTH).mT
        when = (shares[:, 1] * later).sum(-1, keepdim=True)
        constant, ramp = ((shares @ part[..., None])[..., 0] for part in (gain, summed))
        return constant, ramp / torch.where(when > 0, when, 1.0)
