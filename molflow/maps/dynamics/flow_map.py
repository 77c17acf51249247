"""What the maps of dynamics have in common: weights that serve every state."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from molflow.flow_map.base import FlowMap
from molflow.maps.dynamics.scales import LangevinScales

#: Length of the clock on which networks see lags.
CLOCK = 8.0


class DynamicsFlowMap(FlowMap):
    """A strong flow map of Langevin dynamics; friction and temperature are inputs by formula.

    Parameters
    ----------
    network : nn.Module
    scales : LangevinScales
    order : int
        Number of Legendre coefficients of the increments.
    temperature, friction : float, optional
        K and 1/ps; by default those of the state of reference.
    """

    def __init__(
        self,
        network: nn.Module,
        scales: LangevinScales,
        order: int,
        temperature: float | None = None,
        friction: float | None = None,
    ):
        super().__init__()
        self.network, self.scales, self.order = network, scales, order
        self.temperature = scales.temperature if temperature is None else float(temperature)
        self.friction = scales.friction if friction is None else float(friction)
        root_masses = torch.tensor(scales.masses, dtype=torch.float64).sqrt()
        self.register_buffer("root_masses", root_masses, persistent=False)

    def at(self, temperature: float, friction: float) -> Self:
        """Return the map of the same force field in another state, with the same weights.

        Parameters
        ----------
        temperature, friction : float
            K and 1/ps.

        Raises
        ------
        MolflowError
            If one is not positive, or the friction is too high for the longest lag of a map with
            inertia.
        """
        return type(self)(self.network, self.scales, self.order, temperature, friction)
