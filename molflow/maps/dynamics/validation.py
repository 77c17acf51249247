"""Validation of a map of dynamics: its force, and short rollouts from validation frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.brownian.path import BrownianPath
from molflow.brownian.walk import end_of, walk
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.seeds import derive_seed
from molflow.training.configuration import TrainingConfig

#: nm by which a bond may be longer or shorter than on average.
_BOND = 0.05


class DynamicsScores:
    """Compare forces with those of validation frames, and walk from some of them.

    ``force`` is the root mean square error over that of the force itself. For each lag:
    ``intact`` is the share of rollouts in which at the end no bond is 0.05 nm off its mean,
    ``bond_width`` the median over bonds of their width at the ends over that in the data, and
    ``temperature`` the kinetic temperature of the ends over that of the bath.

    Parameters
    ----------
    frames : tuple of ndarray
        Positions and forces, (frames, atoms, 3), nm and kJ/mol/nm.
    graph : MolecularGraph
    settings : TrainingConfig
    seed : int
        Of frames, velocities and paths.
    along : callable, optional
        ``(flow_map, lag)`` to the error along paths under the true force, ``path``; None where
        there are none of such a lag.
    """

    def __init__(
        self,
        frames: tuple[np.ndarray, np.ndarray],
        graph: MolecularGraph,
        settings: TrainingConfig,
        seed: int,
        along: Callable[[DynamicsFlowMap, float], float | None] | None = None,
    ):
        chosen = np.linspace(0, len(frames[0]) - 1, settings.validation_samples).astype(int)
        self.positions, self.forces = (torch.from_numpy(part[chosen]) for part in frames)
        self.bonds, self.settings, self.seed = torch.tensor(graph.bonds).T, settings, seed
        self.along = along
        lengths = self._lengths(torch.from_numpy(frames[0]))
        self.mean, self.width = lengths.mean(0), lengths.std(0)

    @torch.no_grad()
    def __call__(self, flow_map: DynamicsFlowMap) -> dict[str, float]:
        """Return all scores of a map."""
        device = next(flow_map.parameters()).device
        error = flow_map.force(self.positions.to(device)).cpu() - self.forces
        found = {"force": float(error.square().mean().sqrt() / self.forces.square().mean().sqrt())}
        objective = self.settings.objective
        for lag in objective.validation_lags:
            ends = self.walk(flow_map, lag, objective.validation_steps)
            for name, value in self._of_ends(flow_map, ends.cpu()).items():
                found[f"{name}@{1e3 * lag:g}fs"] = value
            if self.along is not None and (off := self.along(flow_map, lag)) is not None:
                found[f"path@{1e3 * lag:g}fs"] = off
        return found

    def walk(self, flow_map: DynamicsFlowMap, lag: float, steps: int) -> Tensor:
        """Return the states that rollouts from up to 64 frames have reached."""
        device = next(flow_map.parameters()).device
        positions = self.positions[:: -(-len(self.positions) // 64)]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "velocities"))
        normal = torch.randn(positions.shape, generator=generator)
        x = flow_map.start(positions.to(device), normal.to(device))
        # Steps of the tree: one node each.
        depth = (steps - 1).bit_length()
        length = lag * 2**depth
        path = BrownianPath(
            flow_map.basis, 0.0, length, tuple(normal.shape), self.seed, depth, device=device
        )
        none = torch.zeros((), dtype=torch.float64)

        def step(s: float, t: float, x: Tensor, increment: Increment) -> Tensor:
            return flow_map(none, none + lag, x, increment)

        return end_of(walk(step, x, path, [k * lag for k in range(steps + 1)]))

    def _of_ends(self, flow_map: DynamicsFlowMap, x: Tensor) -> dict[str, float]:
        lengths = self._lengths(flow_map.positions(x))
        intact = ((lengths - self.mean).abs() < _BOND).all(1)
        found = {"intact": float(intact.float().mean())}
        if int(intact.sum()) < 2:
            return found
        found["bond_width"] = float((lengths[intact].std(0) / self.width).median())
        temperature = flow_map.kinetic_temperature(x[intact])
        if temperature is not None:
            found["temperature"] = float(temperature)
        return found

    def _lengths(self, positions: Tensor) -> Tensor:
        first, second = (positions[:, index] for index in self.bonds)
        return torch.linalg.vector_norm(first - second, dim=-1)
