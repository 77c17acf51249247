"""Training of maps to the ring: on solved paths, and as published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from ring import Side
from torch import Tensor
from toy_training import schedule

import molflow
from molflow.brownian.chen import join, join_matrix
from molflow.brownian.increment import Increment, apply_matrix
from molflow.flow_map.base import FlowMap
from molflow.objectives.matching import direct_residual, euler_matching_residual
from molflow.solvers.exponential_euler import exponential_euler_step

BATCH, PATHS, REFRESH = 1024, 4096, 300
LEVELS = 7  # steps of 1, 1/2, .. 1/64 of the way
SHORTEST = 10  # the published semigroup reaches down to steps of 2^-10 of the way,
LOCAL_STEP = 1e-3  # its local objective is of this length,
LOCAL_ONLY = 0.1  # and alone for the first tenth of the training

#: (map, average of it, share of the training that is done) -> residuals (B,).
Objective = Callable[[FlowMap, FlowMap, float], Tensor]


def dyadic(side: Side, levels: int, parts: int) -> list[Tensor]:
    """Return for every level the ends of its 2^level steps, each in `parts`; (2^level, parts + 1).

    Shares of the way are those of the grid of the side.
    """
    times = torch.tensor(side.grid(2 ** (levels - 1) * parts), dtype=torch.float64)
    grids = [times[:: 2 ** (levels - 1 - level)] for level in range(levels)]
    return [grid.unfold(0, parts + 1, parts) for grid in grids]


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
        self.side, self.inner = side, inner
        self.generator = torch.Generator().manual_seed(seed)
        self.ends = [ends.float() for ends in dyadic(side, LEVELS, 1)]
        self.fine = dyadic(side, LEVELS, inner)[-1].float()
        self.drawn = 0

    def __call__(self, flow_map: FlowMap, average: FlowMap, done: float) -> Tensor:
        if self.drawn % REFRESH == 0:
            with torch.no_grad():
                self.states, self.features = self._solve()
        self.drawn += 1
        parts, count = [], BATCH // LEVELS
        for ends, z in zip(self.ends, self.features, strict=True):
            which = torch.randint(PATHS, (count,), generator=self.generator)
            k = torch.randint(len(ends), (count,), generator=self.generator)
            span = 2 ** (LEVELS - 1) // len(ends)
            x, end = self.states[k * span, which], self.states[(k + 1) * span, which]
            parts.append((*ends[k].unbind(1), x, end, z[k, which]))
        s, t, x, end, z = (torch.cat(part) for part in zip(*parts, strict=True))
        increment = Increment.from_whitened(self.side.basis, t - s, z)
        return direct_residual(flow_map, s, t, x, increment, end)

    def _solve(self) -> tuple[Tensor, list[Tensor]]:
        """Return new states (65, paths, 2), and for each level z (steps, paths, 2, features)."""
        side, states, path = self.side, [], []
        x = side.states(torch.zeros(PATHS), self.generator)
        for times in self.fine:
            states.append(x)
            pieces = []
            for s, t in zip(times[:-1], times[1:], strict=True):
                z = torch.randn(PATHS, 2, side.basis.size, generator=self.generator)
                pieces.append(Increment.from_whitened(side.basis, t - s, z))
                x = exponential_euler_step(side.sde, side.denoise, s, t, x, pieces[-1])
            while len(pieces) > 1:
                pieces = pairs(pieces)
            path += pieces
        states.append(x)
        levels = [path]
        while len(levels[0]) > 1:
            levels.insert(0, pairs(levels[0]))
        return torch.stack(states), [
            torch.stack([increment.whitened() for increment in level]) for level in levels
        ]


class Published:
    """The published objectives: short Euler-Maruyama steps, and the semigroup equation.

    The former take a quarter of a batch.
    """

    def __init__(self, side: Side, seed: int):
        self.side = side
        self.generator = torch.Generator().manual_seed(seed)
        ends = torch.cat(dyadic(side, SHORTEST + 1, 2))
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
        with torch.no_grad():
            end = average(u, t, average(s, u, x, left), right)
        halves = torch.cat([left.whitened(), right.whitened()], dim=-1)
        z = apply_matrix(self.joins[which], halves)
        whole = Increment.from_whitened(self.side.basis, t - s, z)
        return direct_residual(flow_map, s, t, x, whole, end)

    def _increment(self, h: Tensor) -> Increment:
        z = torch.randn(len(h), 2, self.side.basis.size, generator=self.generator)
        return Increment.from_whitened(self.side.basis, h, z)


def pairs(path: list[Increment]) -> list[Increment]:
    """Join neighbours."""
    return [join(left, right) for left, right in zip(path[::2], path[1::2], strict=True)]


def train(flow_map: FlowMap, objective: Objective, steps: int) -> tuple[FlowMap, float]:
    """Return the average of the weights of a trained map, and the processor seconds it took."""
    start = time.process_time()

    def batches(epoch: molflow.Epoch) -> Iterator[float]:
        return ((epoch.first + k) / steps for k in range(epoch.count))

    average = molflow.fit(flow_map, objective, batches, schedule(steps, 0.998), device="cpu")
    return average, time.process_time() - start
