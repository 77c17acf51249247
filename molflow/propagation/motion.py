"""Many chains, one step of a flow map after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.brownian.walk import end_of, walk
from molflow.flow_map.base import FlowMap
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.seeds import derive_seed


def start_state(flow_map: FlowMap, positions: np.ndarray, seed: int) -> Tensor:
    """Return the first state of chains, float64, on the processor: the same for every device.

    Parameters
    ----------
    flow_map : FlowMap
        Of Langevin dynamics.
    positions : ndarray, (chains, n_atoms, 3)
        nm.
    seed : int
        Of the velocities, which follow the Maxwell-Boltzmann law; those of chain i depend on the
        seed and on i.

    Returns
    -------
    Tensor, (chains, 2, n_atoms, 3)
        Positions and velocities, or (chains, n_atoms, 3) where the equation has no inertia.
    """
    x = torch.from_numpy(np.array(positions, np.float64))
    if not inertial(flow_map):
        return x
    key = derive_seed(seed, "velocities")
    normal = np.random.Generator(np.random.Philox(key=key)).standard_normal(x.shape)
    # sigma² = 2 γ kT/m
    sde: Any = flow_map.sde  # with inertia
    width = sde.sigma.double().cpu() / (2.0 * sde.friction) ** 0.5
    return torch.stack([x, width * torch.from_numpy(normal)], dim=1)


def inertial(flow_map: FlowMap) -> bool:
    """Return whether states have velocities."""
    return flow_map.sde.inertial


def positions_of(x: Tensor) -> Tensor:
    """Return the positions of states, (chains, n_atoms, 3)."""
    return x if x.ndim == 3 else x[:, 0]


class Motion:
    """Steps of a flow map: what it learned in its own precision, the equation in float64.

    States stay on the device of the map. The mean force does not change when a molecule moves as a
    whole, so the network sees molecules with their middle at the origin: no digits are lost when
    they have diffused far away.

    Parameters
    ----------
    flow_map : FlowMap
        Of Langevin dynamics.
    batch_size : int
        Chains a network call.
    residuals : ChainResiduals, optional
        Noise to add after each step of a walk.
    """

    def __init__(
        self, flow_map: FlowMap, batch_size: int = 256, residuals: ChainResiduals | None = None
    ):
        self.flow_map, self.batch_size, self.residuals = flow_map, batch_size, residuals
        parameter = next(flow_map.parameters(), torch.zeros((), dtype=torch.float64))
        self._like = parameter.detach()

    @property
    def device(self) -> torch.device:
        """Where the states are."""
        return self._like.device

    def step(self, x: Tensor, increment: Increment) -> Tensor:
        """Return the states after a step.

        Parameters
        ----------
        x : Tensor, (chains, 2, n_atoms, 3) or (chains, n_atoms, 3)
            float64, on the device of the map.
        increment : Increment
            Features (chains, n_atoms, 3, size), its length of shape () on the processor.
        """
        h, increment = float(increment.h), increment.on(x.device)
        middle = positions_of(x).mean(dim=1, keepdim=True)
        seen = x - middle if x.ndim == 3 else torch.stack([x[:, 0] - middle, x[:, 1]], dim=1)
        pairs = zip(
            seen.to(self._like.dtype).split(self.batch_size),
            increment.whitened().to(self._like.dtype).split(self.batch_size),
            strict=True,
        )
        with torch.no_grad():
            means = [self.flow_map.planned_mean(0.0, h, part, z).to(x) for part, z in pairs]
            s, t = (torch.tensor(end, dtype=torch.float64) for end in (0.0, h))
            return self.flow_map.sde.apply(s, t, x, torch.cat(means), increment)

    def walk(
        self,
        x: Tensor,
        paths: ChainPaths,
        start: float,
        interval: float,
        steps: int,
        look: Callable[[float, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the states an interval (ps) later, in equal steps.

        Parameters
        ----------
        x : Tensor
            States at `start`, ps.
        paths : ChainPaths
        look : callable, optional
            Called with time and states after each step; returns the states to go on with.
        """

        def step(s: float, t: float, x: Tensor, increment: Increment) -> Tensor:
            x = self.step(x, increment)
            if self.residuals is not None:
                x = self.residuals.added(s, t - s, x)
            return x if look is None else look(t, x)

        times = [start + interval * k / steps for k in range(steps + 1)]
        return end_of(walk(step, x, paths, times))
