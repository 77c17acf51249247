"""Training of small strong maps in a few dimensions: paths, batches, objectives, one loop."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

import molflow
from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.files import write_json
from molflow.flow_map.base import FlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import (
    direct_residual,
    euler_matching_residual,
    matching_residual,
)
from molflow.objectives.semigroup import semigroup_residual
from molflow.sde.base import AdditiveSDE, time_tensor

POINTS = 64  # of the grid on which training paths are kept; the most steps that are measured
LEVELS = 7  # lengths of steps that are measured, 1/64 to 1 of all time
SHORTEST = -2  # steps down to 2^-2/64 are drawn where no end of a path is needed
LOCAL_STEP = 1e-3  # of the published local objective, as a share of all time
LONGEST = 0.4  # share of a batch that are steps over all time: theirs is the least smooth map
BATCH = 2048
#: Every REFRESH batches the oldest of POOLS sets of PATHS paths is drawn anew.
PATHS, POOLS, REFRESH = 4096, 24, 50


@dataclass(frozen=True)
class Problem:
    """An equation with known n, and where it starts.

    Parameters
    ----------
    sde : AdditiveSDE
        With a method `nonlinear`, or n given apart.
    nonlinear : callable
        n(t, X).
    basis : callable
        Order to the basis of the increments.
    start : callable
        (count, generator) -> states (count, dimension) at the first time.
    first, last : float
        Times.
    scheme : callable
        One step of the solver that draws the training paths, with two coefficients.
    fine : int
        Its number of steps, a multiple of POINTS.
    """

    sde: AdditiveSDE
    nonlinear: Callable[[Tensor, Tensor], Tensor]
    basis: Callable[[int], Basis]
    start: Callable[[int, torch.Generator], Tensor]
    first: float
    last: float
    scheme: Callable
    fine: int = 512

    @property
    def span(self) -> float:
        """Length of the time in between."""
        return self.last - self.first


class PlainEquation(AdditiveSDE):
    """An equation as the published parametrisation writes it: X_t = x + h n + g(s) I^0."""

    def __init__(self, sde: AdditiveSDE):
        self.sde = sde

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one = torch.ones_like(t)
        return 0.0 * one, one, self.sde.rates(t)[2]

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        return torch.ones_like(time_tensor(t) - time_tensor(s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        return time_tensor(t) - time_tensor(s)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        return self.noise(time_tensor(s), increment.increment)


class PlainFlowMap(FlowMap):
    """Its network returns the mean drift and sees the coefficients I^n as they are."""

    def __init__(self, network: nn.Module, sde: AdditiveSDE, basis: Basis):
        super().__init__()
        self.network, self.sde, self.basis = network, PlainEquation(sde), basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        n = torch.arange(self.basis.order, device=x.device)
        widths = torch.sqrt((t - s)[:, None, None] / (2.0 * n + 1.0))
        return self.network(s, t, x, widths * whitened)


@dataclass(frozen=True)
class Paths:
    """Solutions on the grid of POINTS, and whitened coefficients of every dyadic step of it."""

    states: Tensor  # (paths, POINTS + 1, dimension)
    levels: list[Tensor]  # level k: (paths, POINTS / 2^k, dimension, features)


def solve(problem: Problem, count: int, order: int, generator: torch.Generator) -> Paths:
    """Draw paths and solve the equation on each."""
    basis = problem.basis(max(order, 2))
    x = problem.start(count, generator)
    inner = problem.fine // POINTS
    h = torch.tensor(problem.span / problem.fine)
    states, segments = [x], []
    for segment in range(POINTS):
        z = torch.randn(inner, *x.shape, basis.size, generator=generator)
        for k in range(inner):
            s = problem.first + (segment * inner + k) * h
            increment = Increment.from_whitened(basis, h, z[k])
            x = problem.scheme(problem.sde, problem.nonlinear, s, s + h, x, increment)
        states.append(x)
        pieces, length = list(z), h
        while len(pieces) > 1:
            pieces = _pairs(basis, pieces, length)
            length = 2 * length
        segments.append(pieces[0])
    levels, length = [segments], h * inner
    while len(levels[-1]) > 1:
        levels.append(_pairs(basis, levels[-1], length))
        length = 2 * length
    # Coefficients beyond `order` served the solver only.
    kept = slice(None) if order == basis.order else slice(order)
    return Paths(
        torch.stack(states, dim=1),
        [torch.stack(level, dim=1)[..., kept].contiguous() for level in levels],
    )


def _pairs(basis: Basis, pieces: list[Tensor], length: Tensor) -> list[Tensor]:
    """Join neighbours, all at once."""
    left, right = (
        Increment.from_whitened(basis, length, torch.cat(pieces[first::2])) for first in (0, 1)
    )
    return list(join(left, right).whitened().chunk(len(pieces) // 2))


class Batches:
    """Steps [s, t], states at s and increments, from paths that are drawn anew now and then."""

    def __init__(self, problem: Problem, order: int, seed: int):
        self.problem, self.order, self.basis = problem, order, problem.basis(order)
        self.generator = torch.Generator().manual_seed(seed)
        self.pools: deque[Paths] = deque(maxlen=POOLS)
        self.drawn = 0

    def _pool(self) -> Paths:
        """Return a set of paths to draw a batch from."""
        if self.drawn % REFRESH == 0:
            with torch.no_grad():
                self.pools.append(solve(self.problem, PATHS, self.order, self.generator))
        self.drawn += 1
        return self.pools[int(torch.randint(len(self.pools), (), generator=self.generator))]

    def free(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return s, t, x and the level of each step, for any path that follows."""
        level = torch.randint(SHORTEST, LEVELS - 1, (BATCH,), generator=self.generator)
        longest = torch.rand(BATCH, generator=self.generator) < LONGEST
        level = torch.where(longest, LEVELS - 1, level)
        share = 2.0**level / POINTS
        places = torch.floor(1.0 / torch.clamp(share, min=1.0 / POINTS))
        start = torch.floor(torch.rand(BATCH, generator=self.generator) * places) / places
        which = torch.randint(PATHS, (BATCH,), generator=self.generator)
        x = self._pool().states[which, torch.round(start * POINTS).long()]
        return self.time(start), self.time(start + share), x, level - SHORTEST

    def time(self, share: Tensor) -> Tensor:
        """Return the time after a share of all time."""
        return self.problem.first + self.problem.span * share

    def increment(self, h: Tensor) -> Increment:
        """Return an increment of the path that follows."""
        shape = len(h), self.pools[0].states.shape[-1], self.basis.size
        return Increment.from_whitened(self.basis, h, torch.randn(shape, generator=self.generator))

    def solved(self) -> tuple[Tensor, Tensor, Tensor, Increment, Tensor, Tensor]:
        """Return s, t, x, increment, X_t and the level for steps whose end is known."""
        parts, paths = [], self._pool()
        for level, z in enumerate(paths.levels):
            steps = z.shape[1]
            count = int(BATCH * (LONGEST if steps == 1 else (1.0 - LONGEST) / (LEVELS - 1)))
            which = torch.randint(PATHS, (count,), generator=self.generator)
            k = torch.randint(steps, (count,), generator=self.generator)
            span = POINTS // steps
            ends = (paths.states[which, k * span], paths.states[which, (k + 1) * span])
            level = torch.full((count,), level)
            parts.append((k / steps, (k + 1) / steps, z[which, k], *ends, level))
        s, t, z, x, end, level = (torch.cat(part) for part in zip(*parts, strict=True))
        s, t = self.time(s), self.time(t)
        return s, t, x, Increment.from_whitened(self.basis, t - s, z), end, level


#: Residuals (B,) and levels of the steps (B,), 0 the shortest.
Residual = Callable[[FlowMap, FlowMap, Batches], tuple[Tensor, Tensor]]


def drift_matching(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """The drift alone: a map right for short steps."""
    s, _, x, _ = batches.free()
    n = batches.problem.nonlinear(s, x)
    return matching_residual(flow_map, s, x, n), torch.zeros_like(s).long()


def direct(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """Known ends of solved paths."""
    s, t, x, increment, end, level = batches.solved()
    return direct_residual(flow_map, s, t, x, increment, end), level


def semigroup(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """Drift matching on a quarter of the batch, one step against two on the rest."""
    s, t, x, level = batches.free()
    u, k = 0.5 * (s + t), BATCH // 4
    local = matching_residual(flow_map, s[:k], x[:k], batches.problem.nonlinear(s[:k], x[:k]))
    s, u, t, x = s[k:], u[k:], t[k:], x[k:]
    halves = batches.increment(u - s), batches.increment(t - u)
    far = semigroup_residual(flow_map, teacher, s, u, t, x, *halves)
    return torch.cat([local, far]), torch.cat([torch.zeros(k).long(), 1 + level[k:]])


def lagrangian(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """The end of the step moves as the equation says."""
    s, t, x, level = batches.free()
    increment, nonlinear = batches.increment(t - s), batches.problem.nonlinear
    return lagrangian_residual(flow_map, nonlinear, s, t, x, increment), level


def eulerian(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """Where the step begins does not matter; gradients through the derivative."""
    s, t, x, level = batches.free()
    n = batches.problem.nonlinear(s, x)
    return eulerian_residual(flow_map, s, t, x, n, batches.increment(t - s)), level


def mean_flow(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """The same with a fixed target."""
    s, t, x, level = batches.free()
    n = batches.problem.nonlinear(s, x)
    return mean_flow_residual(flow_map, s, t, x, n, batches.increment(t - s)), level


def euler_matching(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """Short Euler-Maruyama steps alone."""
    s, _, x, _ = batches.free()
    n = batches.problem.nonlinear(s, x)
    return _euler_steps(flow_map, batches, s, x, n), torch.zeros_like(s).long()


def published(flow_map: FlowMap, teacher: FlowMap, batches: Batches):
    """Short Euler-Maruyama steps on a quarter of the batch, one step against two on the rest."""
    s, t, x, level = batches.free()
    k = BATCH // 4
    drift = batches.problem.sde.drift(s[:k], x[:k], batches.problem.nonlinear(s[:k], x[:k]))
    local = _euler_steps(flow_map, batches, s[:k], x[:k], drift)
    s, t, x, level = s[k:], t[k:], x[k:], level[k:]
    u = 0.5 * (s + t)
    left, right = batches.increment(u - s), batches.increment(t - u)
    with torch.no_grad():
        end = teacher(u, t, teacher(s, u, x, left), right)
    far = direct_residual(flow_map, s, t, x, join(left, right), end)
    return torch.cat([local, far]), torch.cat([torch.zeros(k).long(), 1 + level])


def _euler_steps(flow_map: FlowMap, batches: Batches, s: Tensor, x: Tensor, n: Tensor) -> Tensor:
    short = torch.full_like(s, LOCAL_STEP * batches.problem.span)
    return euler_matching_residual(flow_map, s, s + short, x, batches.increment(short), n)


OBJECTIVES: dict[str, Residual] = {
    "direct": direct,
    "semigroup": semigroup,
    "lagrangian": lagrangian,
    "mean_flow": mean_flow,
    "eulerian": eulerian,
    "drift_matching": drift_matching,
    "euler_matching": euler_matching,
    "published": published,
}


class Levelled(nn.Module):
    """An objective with a learned weight for each length of step.

    Parameters
    ----------
    name : str
        Of `OBJECTIVES`.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name, self.log_variance = name, nn.Parameter(torch.zeros(LEVELS - SHORTEST + 1))

    def forward(self, flow_map: FlowMap, average: FlowMap, batches: Batches) -> Tensor:
        residual, level = OBJECTIVES[self.name](flow_map, average, batches)
        # Five times as fast as the weights of the network.
        log_variance = 5.0 * self.log_variance
        spread = log_variance.detach()
        if self.name != "direct":
            # Targets that the map makes agree with it where both hardly move. So that such small
            # residuals do not hold it where it is, no length weighs more than a shorter one.
            spread = torch.cummax(spread, dim=0).values
        said = torch.exp(-spread[level]) * residual
        learned = log_variance[level]
        return said + torch.exp(-learned) * residual.detach() + learned


def train(flow_map: FlowMap, objective: str, batches: Batches, steps: int) -> tuple[FlowMap, float]:
    """Return the average of the weights of a trained map, and the seconds it took."""
    start = time.perf_counter()
    average = molflow.fit(
        flow_map, Levelled(objective), lambda epoch: repeat(batches, epoch.count),
        schedule(steps, 0.99), device="cpu",
    )  # fmt: skip
    return average, time.perf_counter() - start


def schedule(steps: int, memory: float) -> molflow.Optimisation:
    """Return the optimisation of all small maps; a step keeps up to `memory` of the average."""
    return molflow.Optimisation(
        steps=steps, steps_per_epoch=min(steps, 1000), learning_rate=2e-3,
        learning_rate_decay=steps, ema_decay=memory, teacher_decay=memory, gradient_clip=10.0,
    )  # fmt: skip


def walk(jump: Callable, problem: Problem, paths: Paths, order: int, level: int) -> list[Tensor]:
    """Return the states after each step of a walk with POINTS / 2^level steps.

    Parameters
    ----------
    jump : callable
        jump(s, t, x, increment) -> X_t with s, t (paths,).
    """
    basis, z = problem.basis(order), paths.levels[level]
    steps, x, states = z.shape[1], paths.states[:, 0], []
    for k in range(steps):
        s, t = (
            torch.full((len(x),), problem.first + problem.span * (k + one) / steps)
            for one in (0, 1)
        )
        features = z[:, k] if order == z.shape[-1] else z[:, k, :, : basis.size]
        x = jump(s, t, x, Increment.from_whitened(basis, t - s, features))
        states.append(x)
    return states


def once(path: Path, make: Callable[[], dict]) -> dict:
    """Return what a finished part of the run left in a file, or make it now."""
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))
