"""The objective of maps of dynamics: force matching, short steps tied to the force, long ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.devices import upload
from molflow.maps.dynamics.configuration import DynamicsObjectiveConfig
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.maps.dynamics.rollouts import RolloutObjective, halves_of, part_of, residuals_of
from molflow.maps.dynamics.thermal_norm import ThermalNorm
from molflow.objectives.eulerian import mean_flow_target
from molflow.objectives.matching import implied_mean
from molflow.objectives.norm import residual
from molflow.objectives.registry import LongSteps
from molflow.objectives.residuals import Residuals
from molflow.objectives.semigroup import composed_mean


class DynamicsObjective(RolloutObjective):
    """Force matching, then steps of all lengths.

    At a step of no length the map says the force of the data. Short steps are tied to two steps of
    half their length of the teacher's `short_map`, longer ones to two half steps of the
    teacher, by MeanFlow to the force of the data and the teacher's derivative along the path, or to
    the ends of paths under the true force.
    Some of those start from states that the teacher itself has reached (`RolloutObjective`).
    Another family of objectives than the semigroup takes the place of the two half steps.

    Parameters
    ----------
    flow_map : DynamicsFlowMap
    config : DynamicsObjectiveConfig
    family : LongSteps, optional
        In place of two half steps of the teacher.
    frozen : FlowMap, optional
        The teacher of families whose teacher is frozen.
    """

    def __init__(
        self,
        flow_map: DynamicsFlowMap,
        config: DynamicsObjectiveConfig,
        family: LongSteps | None = None,
        frozen: Any = None,
    ):
        super().__init__(flow_map, config)
        self.family, self.frozen = family, frozen

    def forward(
        self, flow_map: DynamicsFlowMap, teacher: DynamicsFlowMap, batch: dict[str, Any]
    ) -> Residuals | list[Residuals]:
        """Return the residuals of one batch of `DynamicsBatches`."""
        state = flow_map.scales.temperature, batch["friction"]
        student, teacher = flow_map.at(*state), teacher.at(*state)
        local, x = batch["local"], student.start(batch["positions"], batch["normal"])
        targets = [student.constant(batch["forces"][:local])]
        h = torch.cat([batch["lag"].new_zeros(local), batch["lag"]])
        whitened, found = student.no_features(x), []
        watched: dict[str, tuple[Tensor, int]] = {}
        if local < len(x):
            x = torch.cat([x[:local], self.starts(x[local:], batch)])
            left, right = halves_of(student, batch)
            whitened[local:] = join(left, right).whitened()
            if self.family is not None:
                first = local + batch["anchored"]
                found = self._by_family(student, teacher, x[local:], left, right, batch)
                x, h, whitened = x[:first], h[:first], whitened[:first]
            more, watched = self._targets(teacher, x[local:], left, right, batch)
            targets += more
        if "path_start" in batch:
            x, h = torch.cat([x, batch["path_start"]]), torch.cat([h, batch["path_lag"]])
            whitened = torch.cat([whitened, batch["path_noise"]])
            targets.append(path_target(student, batch))
        start = torch.zeros_like(h)
        predicted = student.mean(start, h, x, whitened)
        error = residual(
            student, start, predicted, torch.cat(targets), ThermalNorm(student, h)
        )
        return [residuals_of(self, error, h, batch, watched), *found]

    @torch.no_grad()
    def _targets(
        self, teacher, x: Tensor, left: Increment, right: Increment, batch: dict[str, Any]
    ) -> tuple[list[Tensor], dict[str, tuple[Tensor, int]]]:
        k, last = batch["anchored"], len(x) - batch["mean_flow"]
        targets, watched = [], {}
        for part, model in ((slice(0, k), teacher.short_map()), (slice(k, last), teacher)):
            if not len(x[part]):
                continue
            s, t, halves = part_of(batch, part, left, right)
            targets.append(composed_mean(model, model, s, 0.5 * t, t, x[part], *halves))
        if len(batch["slots"]):
            end = teacher.sde.apply(s, t, x[part], targets[-1], join(*halves))
            watched = self.keep(teacher, end[: len(batch["slots"])], batch["slots"])
        if batch["mean_flow"]:
            part = slice(last, None)
            # On the device, where derivatives by the start are taken.
            place = x.device
            halves = [
                Increment.from_whitened(one.basis, upload(one.h, place)[part], one.whitened()[part])
                for one in (left, right)
            ]
            t = upload(batch["lag"][part], place)
            s = torch.zeros_like(t)
            n = teacher.constant(batch["forces"][-batch["mean_flow"] :])
            targets.append(mean_flow_target(teacher, s, t, x[part], n, join(*halves)))
        return targets, watched

    def _by_family(
        self, student, teacher, x: Tensor, left: Increment, right: Increment, batch
    ) -> list[Residuals]:
        """Return what the family says of the steps that are not tied to the force."""
        part, family = slice(batch["anchored"], None), self.family
        if family is None or not len(x[part]):
            return []
        t = upload(batch["lag"][part], x.device)
        s = torch.zeros_like(t)
        u, t = family.times(s, t, float("nan"), batch["share"][part])
        before, after = (
            Increment.from_whitened(student.basis, h, batch[name][part])
            for h, name in ((u - s, "left"), (t - u, "right"))
        )
        force = student.constant(batch["forces"][batch["local"] :][part])
        state = student.temperature, student.friction
        frozen = None if self.frozen is None else self.frozen.at(*state)
        values = family.residual(
            student, {"average": teacher, "frozen": frozen}.get(family.teacher),
            (lambda time, state: force) if family.teacher == "none" else None,
            s, u, t, x[part], before, after, ThermalNorm(student, t),
        )  # fmt: skip
        clock = self.clock(t).float()
        return [Residuals(values, torch.zeros_like(clock), clock, {"long": len(values)})]


def path_target(flow_map: DynamicsFlowMap, batch: dict[str, Any]) -> Tensor:
    """Return the n̄ that takes the starts of steps along paths to their ends; see `PathSteps`."""
    lag = batch["path_lag"]
    increment = Increment.from_whitened(flow_map.basis, lag, batch["path_noise"])
    ends = torch.zeros_like(lag), lag
    return implied_mean(flow_map.sde, *ends, batch["path_start"], increment, batch["path_end"])
