"""The objectives that `strong_convergence.py` compares, on steps between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from toy_training import published_residual

from molflow.brownian.increment import Increment, sample_increment
from molflow.flow_map.base import FlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import direct_residual, euler_matching_residual, matching_residual
from molflow.objectives.semigroup import semigroup_residual
from molflow.solvers.solved_paths import SolvedSteps

POINTS, LEVELS = 64, 7  # level k has 64 / 2^k steps over all time
SHORTEST = -2  # steps down to 2^-2/64 are drawn where no end of a path is needed
LOCAL_STEP = 1e-3  # of the published local objective, as a share of all time
LONGEST = 0.4  # share of a batch that are steps over all time: theirs is the least smooth map
BATCH = 2048
#: Steps in a batch whose ends are known, by level.
COUNTS = {level: int(BATCH * (1.0 - LONGEST) / (LEVELS - 1)) for level in range(LEVELS - 1)}
COUNTS[LEVELS - 1] = int(BATCH * LONGEST)

#: Residuals (B,) and levels of the steps (B,), 0 the shortest.
Residual = Callable[[FlowMap, FlowMap, SolvedSteps], tuple[Tensor, Tensor]]


def free(steps: SolvedSteps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return s, t, x and the level of each step, for any path that follows."""
    level = torch.randint(SHORTEST, LEVELS - 1, (BATCH,), generator=steps.generator)
    longest = torch.rand(BATCH, generator=steps.generator) < LONGEST
    level = torch.where(longest, LEVELS - 1, level)
    share = 2.0**level / POINTS
    places = torch.floor(1.0 / torch.clamp(share, min=1.0 / POINTS))
    start = torch.floor(torch.rand(BATCH, generator=steps.generator) * places) / places
    which = torch.randint(steps.paths, (BATCH,), generator=steps.generator)
    x = steps.pool().states[torch.round(start * POINTS).long(), which]
    return start, start + share, x, level - SHORTEST


def following(steps: SolvedSteps, h: Tensor) -> Increment:
    """Return an increment of the path that follows."""
    return sample_increment(steps.basis, h, (len(h), 1), steps.generator)


def drift_steps(flow_map: FlowMap, steps: SolvedSteps, s: Tensor, x: Tensor) -> Tensor:
    """The drift alone: a map right for short steps."""
    return matching_residual(flow_map, s, x, steps.problem.nonlinear(s, x))


def euler_steps(flow_map: FlowMap, steps: SolvedSteps, s: Tensor, x: Tensor) -> Tensor:
    """Short Euler-Maruyama steps; a map without lift learns all of the drift."""
    sde, n = steps.problem.sde, steps.problem.nonlinear(s, x)
    drift = n if flow_map.sde is sde else sde.drift(s, x, n)
    short = torch.full_like(s, LOCAL_STEP)
    increment = following(steps, short)
    return euler_matching_residual(flow_map, s, s + short, x, increment, drift)


def short_only(local: Callable[..., Tensor]) -> Residual:
    """Short steps alone."""

    def objective(flow_map: FlowMap, teacher: FlowMap, steps: SolvedSteps):
        s, _, x, _ = free(steps)
        return local(flow_map, steps, s, x), torch.zeros_like(s).long()

    return objective


def short_and_long(local: Callable[..., Tensor], far: Callable[..., Tensor]) -> Residual:
    """Short steps on a quarter of the batch, one step against two on the rest."""

    def objective(flow_map: FlowMap, teacher: FlowMap, steps: SolvedSteps):
        s, t, x, level = free(steps)
        k = BATCH // 4
        near = local(flow_map, steps, s[:k], x[:k])
        s, t, x = s[k:], t[k:], x[k:]
        u = 0.5 * (s + t)
        halves = following(steps, u - s), following(steps, t - u)
        both = torch.cat([near, far(flow_map, teacher, s, u, t, x, *halves)])
        return both, torch.cat([torch.zeros(k).long(), 1 + level[k:]])

    return objective


def direct(flow_map: FlowMap, teacher: FlowMap, steps: SolvedSteps):
    """Known ends of solved paths."""
    *step, level = steps.draw(COUNTS)
    return direct_residual(flow_map, *step), level


def lagrangian(flow_map: FlowMap, teacher: FlowMap, steps: SolvedSteps):
    """The end of the step moves as the equation says."""
    s, t, x, level = free(steps)
    increment = following(steps, t - s)
    return lagrangian_residual(flow_map, steps.problem.nonlinear, s, t, x, increment), level


def from_start(residual: Callable[..., Tensor]) -> Residual:
    """Where the step begins does not matter."""

    def objective(flow_map: FlowMap, teacher: FlowMap, steps: SolvedSteps):
        s, t, x, level = free(steps)
        n = steps.problem.nonlinear(s, x)
        return residual(flow_map, s, t, x, n, following(steps, t - s)), level

    return objective


OBJECTIVES: dict[str, Residual] = {
    "direct": direct,
    "semigroup": short_and_long(drift_steps, semigroup_residual),
    "lagrangian": lagrangian,
    # With a fixed target,
    "mean_flow": from_start(mean_flow_residual),
    # and with gradients through the derivative.
    "eulerian": from_start(eulerian_residual),
    "drift_matching": short_only(drift_steps),
    "euler_matching": short_only(euler_steps),
    "published": short_and_long(euler_steps, published_residual),
}


class Levelled(nn.Module):
    """An objective with a learned weight for each length of step.

    Parameters
    ----------
    name : str
        Of `OBJECTIVES`.
    steps : SolvedSteps
    """

    def __init__(self, name: str, steps: SolvedSteps):
        super().__init__()
        self.name, self.steps = name, steps
        self.log_variance = nn.Parameter(torch.zeros(LEVELS - SHORTEST + 1))

    def forward(self, flow_map: FlowMap, average: FlowMap, done: float) -> Tensor:
        residual, level = OBJECTIVES[self.name](flow_map, average, self.steps)
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
