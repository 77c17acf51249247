"""Validation of a map of dynamics: its force, and short rollouts from validation frames."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch import Tensor

from molflow.brownian.path import BrownianPath
from molflow.flow_map.base import FlowMap
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.path_steps import PathSteps, path_end
from molflow.nn.graph import MolecularGraph
from molflow.seeds import derive_seed
from molflow.training.configuration import TrainingConfig
from molflow.units import thermal_energy

#: nm by which a bond may be longer or shorter than on average.
_BOND = 0.05


class LangevinValidation(lightning.Callback):
    """Compare forces with those of validation frames, walk from some of them, and log the scores.

    ``val/force`` is the root mean square error over that of the force itself. For each lag:
    ``val/intact`` is the share of rollouts in which at the end no bond is 0.05 nm off its mean,
    ``val/bond_width`` the median over bonds of their width at the ends over that in the data, and
    ``val/temperature`` the kinetic temperature of the ends over that of the bath. For each lag that
    paths under the true force have, ``val/path`` is the root mean square error of velocities after
    one step from their starts, in thermal units.

    Parameters
    ----------
    frames : tuple of ndarray
        Positions and forces, (frames, atoms, 3), nm and kJ/mol/nm.
    graph : MolecularGraph
    settings : TrainingConfig
    seed : int
        Of frames, velocities and paths.
    paths : PathSteps, optional
        Under the true force.
    """

    def __init__(
        self,
        frames: tuple[np.ndarray, np.ndarray],
        graph: MolecularGraph,
        settings: TrainingConfig,
        seed: int,
        paths: PathSteps | None = None,
    ):
        chosen = np.linspace(0, len(frames[0]) - 1, settings.validation_samples).astype(int)
        self.positions, self.forces = (torch.from_numpy(part[chosen]) for part in frames)
        self.bonds, self.settings, self.seed = torch.tensor(graph.bonds).T, settings, seed
        self.paths = paths
        lengths = self._lengths(torch.from_numpy(frames[0]))
        self.mean, self.width = lengths.mean(0), lengths.std(0)

    def on_train_epoch_end(self, trainer, module) -> None:
        """Validate each `validate_every` epochs."""
        if (trainer.current_epoch + 1) % self.settings.validate_every or not trainer.is_global_zero:
            return
        for name, value in self.scores(module.averaged).items():
            module.log(f"val/{name}", value, rank_zero_only=True)

    @torch.no_grad()
    def scores(self, flow_map: FlowMap) -> dict[str, float]:
        """Return all scores of a map."""
        device = next(flow_map.parameters()).device
        error = flow_map.force(self.positions.to(device)).cpu() - self.forces
        found = {"force": float(error.square().mean().sqrt() / self.forces.square().mean().sqrt())}
        objective = self.settings.objective
        for lag in objective.validation_lags:
            ends = self.walk(flow_map, lag, objective.validation_steps)
            for name, value in self._of_ends(flow_map, ends.cpu()).items():
                found[f"{name}@{1e3 * lag:g}fs"] = value
            if self.paths is not None and self.paths.has(lag):
                found[f"path@{1e3 * lag:g}fs"] = self._along_paths(flow_map, lag)
        return found

    def _along_paths(self, flow_map: InertialFlowMap, lag: float) -> float:
        squares = []
        for part in self.paths.paths.validation:
            batch = self.paths.starts(part, lag, 64)
            own = flow_map.at(flow_map.temperature, batch["friction"])
            off = (path_end(own, batch) - batch["path_end"])[:, 1]
            off = off * own.root_masses.double().cpu()[:, None]
            squares.append(off.square().mean() / thermal_energy(own.temperature))
        return float(torch.stack(squares).mean().sqrt())

    def walk(self, flow_map: FlowMap, lag: float, steps: int) -> Tensor:
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
        s = torch.zeros((), dtype=torch.float64)
        for k in range(steps):
            x = flow_map(s, s + lag, x, path.increment(k * lag, (k + 1) * lag))
        return x

    def _of_ends(self, flow_map: FlowMap, x: Tensor) -> dict[str, float]:
        inertia = isinstance(flow_map, InertialFlowMap)
        lengths = self._lengths(x[:, 0] if inertia else x)
        intact = ((lengths - self.mean).abs() < _BOND).all(1)
        found = {"intact": float(intact.float().mean())}
        if int(intact.sum()) < 2:
            return found
        found["bond_width"] = float((lengths[intact].std(0) / self.width).median())
        if inertia:
            momenta = x[intact, 1] * flow_map.root_masses.to(x).cpu()[:, None]
            energy = thermal_energy(flow_map.temperature)
            found["temperature"] = float(momenta.square().mean() / energy)
        return found

    def _lengths(self, positions: Tensor) -> Tensor:
        first, second = (positions[:, index] for index in self.bonds)
        return torch.linalg.vector_norm(first - second, dim=-1)
