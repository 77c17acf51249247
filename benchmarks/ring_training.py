"""What maps to the ring are trained on: solved paths, and the published objectives."""

from __future__ import annotations

import torch
from ring import Side
from torch import Tensor
from toy_training import published_residual

from molflow.brownian.chen import join_matrix
from molflow.brownian.increment import Increment, apply_matrix, sample_increment
from molflow.flow_map.base import FlowMap
from molflow.objectives.matching import direct_residual, euler_matching_residual
from molflow.solvers.solved_paths import SolvedSteps

BATCH = 1024
SHORTEST = 10  # the published semigroup reaches down to steps of 2^-10 of the way,
LOCAL_STEP = 1e-3  # its local objective is of this length,
LOCAL_ONLY = 0.1  # and alone for the first tenth of the training


class DirectMatching:
    """Steps of all lengths against paths of the equation, solved with the exact denoiser.

    Parameters
    ----------
    side : Side
    inner : int
        Exponential Euler steps within each of the shortest steps, a power of two.
    seed : int
    """

    def __init__(self, side: Side, inner: int, seed: int):
        problem = side.problem(inner)
        self.steps = SolvedSteps(problem, side.basis, seed)
        self.counts = dict.fromkeys(reversed(range(problem.levels)), BATCH // problem.levels)

    def __call__(self, flow_map: FlowMap, average: FlowMap, done: float) -> Tensor:
        *step, _ = self.steps.draw(self.counts)
        return direct_residual(flow_map, *step)


class Published:
    """The published objectives: short Euler-Maruyama steps, and the semigroup equation.

    The former take a quarter of a batch.
    """

    def __init__(self, side: Side, seed: int):
        self.side = side
        self.generator = torch.Generator().manual_seed(seed)
        # The ends and middles of 1, 2, 4 .. 2^SHORTEST steps.
        times = torch.tensor(side.grid(2 ** (SHORTEST + 1)), dtype=torch.float64)
        grids = [times[:: 2 ** (SHORTEST - level)] for level in range(SHORTEST + 1)]
        ends = torch.cat([grid.unfold(0, 3, 2) for grid in grids])
        h_left, h_right = torch.diff(ends, dim=1).unbind(1)
        self.ends, self.joins = ends.float(), join_matrix(side.basis, h_left, h_right).float()

    def __call__(self, flow_map: FlowMap, average: FlowMap, done: float) -> Tensor:
        if done < LOCAL_ONLY:
            return self._local(flow_map, BATCH)
        long = 3 * BATCH // 4
        return torch.cat([self._local(flow_map, BATCH - long), self._long(flow_map, average, long)])

    def _local(self, flow_map: FlowMap, count: int) -> Tensor:
        side = self.side
        s = (side.sde.duration - LOCAL_STEP) * torch.rand(count, generator=self.generator)
        t, x = s + LOCAL_STEP, side.states(s, self.generator)
        increment = self._increment(t - s)
        return euler_matching_residual(flow_map, s, t, x, increment, side.drift(s, x))

    def _long(self, flow_map: FlowMap, average: FlowMap, count: int) -> Tensor:
        steps = 2 ** torch.randint(SHORTEST + 1, (count,), generator=self.generator)
        # Levels follow each other: the first of 2^level steps is number 2^level - 1.
        which = steps - 1 + (torch.rand(count, generator=self.generator) * steps).long()
        s, u, t = self.ends[which].unbind(1)
        x = self.side.states(s, self.generator)
        left, right = self._increment(u - s), self._increment(t - u)
        halves = torch.cat([left.whitened(), right.whitened()], dim=-1)
        z = apply_matrix(self.joins[which], halves)
        whole = Increment.from_whitened(self.side.basis, t - s, z)
        return published_residual(flow_map, average, s, u, t, x, left, right, whole)

    def _increment(self, h: Tensor) -> Increment:
        return sample_increment(self.side.basis, h, (len(h), 2), self.generator)
