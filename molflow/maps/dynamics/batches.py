"""Training batches of maps of dynamics: everything random of a step, from seed and number."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from molflow import seeds
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch
from molflow.training.strata import log_uniform


class StepsOfPaths(Protocol):
    """Steps along paths under the true force; `PathSteps` of maps with inertia is one.

    Attributes
    ----------
    shortest : float
        ps; the semigroup ends there.
    """

    @property
    def shortest(self) -> float: ...

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        """Return so many, with their ``friction``."""


class DynamicsBatches(Dataset):
    """The batches of one epoch; item k is a whole batch.

    A batch depends on the seed, the epoch, k and the process alone. Of its molecules some serve
    force matching, the next are short steps tied to the force, then come those of the semigroup,
    those of MeanFlow and at last those along paths under the true force, which are longer than the
    others and choose the friction. The first of the semigroup go on from where rollouts of the map
    have come to, see `RolloutObjective`.

    Parameters
    ----------
    positions, forces : Tensor, (frames, atoms, 3)
        nm and kJ/mol/nm.
    features : int
        Features of an increment per component.
    config : TrainingConfig
        Of a map of dynamics.
    friction : float
        1/ps, of the map.
    epoch : Epoch
    paths : StepsOfPaths, optional
        Where the configuration has steps along paths.
    """

    def __init__(
        self,
        positions: Tensor,
        forces: Tensor,
        features: int,
        config: TrainingConfig,
        friction: float,
        epoch: Epoch,
        paths: StepsOfPaths | None = None,
    ):
        self.positions, self.forces, self.features = positions, forces, features
        self.config, self.friction = config, friction
        self.epoch, self.paths = epoch, paths

    def __len__(self) -> int:
        return self.epoch.count

    def __getitem__(self, index: int) -> dict[str, Tensor | int | float]:
        generator = seeds.generator(self.config.seed, "batch", *self.epoch.names(index))
        size, objective = self.config.batch_size, self.config.objective
        local = size
        if self.epoch.first + index >= objective.local_steps:
            local = min(size - 1, max(1, round(size * objective.local_share)))
        anchored = round((size - local) * objective.anchor_share)
        direct = round((size - local - anchored) * objective.direct_share)
        size -= direct
        free = size - local - anchored
        rolled = min(objective.rollouts, round(free * objective.rollout_share))
        mean_flow = round((free - rolled) * objective.mean_flow_share)
        rows = torch.randint(len(self.positions), (size,), generator=generator)
        positions = self.positions[rows]
        shortest, between = objective.anchor
        longest = self.config.map.longest_lag if self.paths is None else self.paths.shortest
        lags = [
            log_uniform(anchored, shortest, between, generator),
            log_uniform(free, between, longest, generator),
        ]
        low, high = objective.frictions or (self.friction, self.friction)
        shape = (2, size - local, *positions.shape[1:], self.features)
        halves = torch.randn(shape, generator=generator)
        # Mixed, so that rollouts see lags of all lengths.
        lags[1] = lags[1][torch.randperm(free, generator=generator)]
        return {
            "positions": positions,
            "forces": self.forces[rows],
            "normal": torch.randn(positions.shape, generator=generator),
            "local": local,
            "anchored": anchored,
            "mean_flow": mean_flow,
            "lag": torch.cat(lags).double(),
            "left": halves[0],
            "right": halves[1],
            "slots": torch.randperm(objective.rollouts, generator=generator)[:rolled],
            "restart": torch.rand(rolled, generator=generator) * objective.rollout_length < 1.0,
            "friction": float(log_uniform(1, low, high, generator)),
            **(self.paths.draw(direct, generator) if direct and self.paths else {}),
            # Where objectives divide a step that may be divided anywhere.
            "share": torch.rand(anchored + free, generator=generator),
        }
