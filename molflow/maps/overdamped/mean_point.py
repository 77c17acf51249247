"""Short steps of overdamped dynamics from the force alone, to which long ones are tied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from molflow.brownian.legendre import alternating
from molflow.devices import upload
from molflow.flow_map.base import FlowMap
from molflow.sde.base import time_tensor
from molflow.sde.overdamped import OverdampedLangevin

if TYPE_CHECKING:
    from molflow.maps.overdamped.flow_map import OverdampedFlowMap


class OverdampedMeanPointMap(FlowMap):
    r"""Map of a short step: the mean force is the force at the mean of the positions.

    F̄ = ∫ F(X_u) du/h is F(∫ X_u du/h) for a force linear in the positions, and
    X_u = x + σ (W_u − W_s) + (u − s) F(x)/(mγ) given the features of the path. Compare
    `molflow.maps.langevin.mean_point.MeanPointMap`.

    Parameters
    ----------
    flow_map : OverdampedFlowMap
        Whose force it is: what the map says of steps of no length.
    """

    sde: OverdampedLangevin

    def __init__(self, flow_map: OverdampedFlowMap):
        super().__init__()
        self.flow_map, self.sde, self.basis = flow_map, flow_map.sde, flow_map.basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        h = upload((time_tensor(t) - time_tensor(s)).double(), x.device).expand(len(x))
        force = self.flow_map.force(x)
        # ∫ (W_u − W_s) du = h (I⁰ − I¹)/2
        first = 0.5 * self.basis.legendre_scales(h)[:, :2]
        first = first * alternating(first.shape[1], h.device)
        seen = torch.einsum("bn,baxn->bax", first.to(x), whitened[..., :2])
        moved = 0.5 * h.to(x).reshape(-1, 1, 1) * self.sde.mobility.to(x) * force
        return self.flow_map.force(x + self.sde.diffusion.to(x) * seen + moved)
