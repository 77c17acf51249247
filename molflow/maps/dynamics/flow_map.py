"""What the maps of dynamics have in common: weights that serve every state."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor, nn

from molflow.flow_map.base import FlowMap
from molflow.maps.dynamics.scales import LangevinScales
from molflow.sde.overdamped import OverdampedLangevin
from molflow.sde.underdamped import UnderdampedLangevin

#: Length of the clock on which networks see lags.
CLOCK = 8.0
N = TypeVar("N", bound=nn.Module)


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

    scales: LangevinScales
    order: int
    temperature: float
    friction: float
    root_masses: Tensor
    sde: UnderdampedLangevin | OverdampedLangevin

    if TYPE_CHECKING:
        # Of every map of dynamics, and different in each.
        @property
        def longest_lag(self) -> float: ...
        def force(self, positions: Tensor) -> Tensor: ...
        def start(self, positions: Tensor, normal: Tensor) -> Tensor: ...
        def constant(self, force: Tensor) -> Tensor: ...

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
        root_masses = torch.tensor(scales.masses, dtype=torch.float64).sqrt()
        self.register_buffer("root_masses", root_masses, persistent=False)
        self.temperature = scales.temperature if temperature is None else float(temperature)
        self.friction = scales.friction if friction is None else float(friction)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of a state: of positions, (atoms, 3)."""
        return len(self.scales.masses), 3

    def positions(self, states: Tensor) -> Tensor:
        """Return the positions of states, (batch, atoms, 3) nm."""
        return states

    def whole(self, states: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """Return which states a molecule may be in, (batch,) bool, and what may be watched of
        them: means, and of how many."""
        return states.flatten(1).isfinite().all(1), {}

    def kinetic_temperature(self, states: Tensor) -> Tensor | None:
        """Return that of states over that of the bath, (); None if they have no velocities."""
        return None

    @abstractmethod
    def thermal_weight(self, h: Tensor) -> Tensor:
        """Return the roots of the weights of errors of n̄ in steps of length h (batch,), float64;
        see `molflow.maps.dynamics.thermal_norm.ThermalNorm`."""

    @abstractmethod
    def short_map(self) -> FlowMap:
        """Return the map of short steps that follows from the force alone, to which others are
        tied."""

    def at(self, temperature: float, friction: float) -> Self:
        """Return the map of the same force field in another state.

        It shares weights and buffers with this one, so that it is where this one is.

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
        found = _view(self)
        found.temperature, found.friction = float(temperature), float(friction)
        found._set_equation(self.sde.at(found.force, found.friction, found.temperature))
        return found

    @abstractmethod
    def _set_equation(self, sde: Any) -> None:
        """Take an equation in the state of this map, and what else depends on the state."""


def _view(module: N) -> N:
    """Return a module with the same parameters, buffers and parts, whose own can be set anew.

    What is set on it is not seen by the original; what is shared is not copied.
    """
    found = module.__new__(type(module))
    found.__dict__ = module.__dict__.copy()
    for kind in ("_parameters", "_buffers", "_modules"):
        found.__dict__[kind] = found.__dict__[kind].copy()
    return found
