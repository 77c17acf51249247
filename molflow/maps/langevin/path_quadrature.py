"""Steps of maps that know bonded forces, from the force alone: what longer ones are tied to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.legendre import shifted_legendre
from molflow.flow_map.base import FlowMap
from molflow.maps.langevin.known_motion import between, expansion_like
from molflow.sde.base import time_tensor
from molflow.sde.underdamped import UnderdampedLangevin

if TYPE_CHECKING:
    from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap

#: Where along a step the rest of the force is asked for.
POINTS = 6


class PathQuadratureMap(FlowMap):
    """Map of a step along which the rest of the force changes little.

    Its coefficients are those of the rest of the force on the path that it makes itself if it
    stays what it is at the mean of the path without it, by Gauss-Legendre quadrature.

    Parameters
    ----------
    flow_map : BondedLangevinFlowMap
        Whose force it is: what the map says of steps of no length.
    """

    sde: UnderdampedLangevin

    def __init__(self, flow_map: BondedLangevinFlowMap):
        super().__init__()
        self.flow_map, self.sde, self.basis = flow_map, flow_map.sde, flow_map.basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        h = (time_tensor(t) - time_tensor(s)).double().expand(len(x))
        return self.flow_map.implied(h, x, whitened, self.rest(h, x, whitened))

    def rest(self, h: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return f_n/m, (count, batch, atoms, 3) in nm/ps²; see `BondedLangevinFlowMap.rest`."""
        motion, masses = self.flow_map.motion, self.sde.masses.to(x)
        plan = motion.plan(h, x)
        free = motion.free(plan, x, whitened)
        path = motion.respond(plan, free)[0]
        place = x.dtype, x.device
        mean = torch.einsum("p,pbax->bax", expansion_like(len(free), 1, *place)[0], path)
        constant = self.flow_map.rest_force(mean) / masses
        path = motion.respond(plan, free, constant[None])[0]
        at_points, coefficients = _quadrature(len(free), self.flow_map.outputs, *place)
        points = torch.einsum("kp,pbax->kbax", at_points, path)
        forces = self.flow_map.rest_force(points.flatten(0, 1)).unflatten(0, (POINTS, -1)) / masses
        return torch.einsum("pn,pbax->nbax", coefficients, forces)


@lru_cache
def _quadrature(
    points: int, count: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what makes values at Gauss points of those at nodes, and Legendre coefficients of
    them; (POINTS, points) and (POINTS, count)."""
    roots, weights = np.polynomial.legendre.leggauss(POINTS)
    node, weight = torch.from_numpy(0.5 + 0.5 * roots), torch.from_numpy(0.5 * weights)
    odd = 2.0 * torch.arange(count) + 1.0
    coefficients = weight[:, None] * shifted_legendre(node, count) * odd
    return between(points, node).to(device, dtype), coefficients.to(device, dtype)
