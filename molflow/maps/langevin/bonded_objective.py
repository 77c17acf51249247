"""The objective of a map that knows bonded forces: the rest of the force along steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.dynamics.configuration import DynamicsObjectiveConfig
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.maps.dynamics.rollouts import RolloutObjective, halves_of, part_of, residuals_of
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.bonded_semigroup import composed_rest
from molflow.maps.langevin.curl import curl_share
from molflow.maps.langevin.rest_norm import rest_error
from molflow.objectives.residuals import Residuals


class BondedObjective(RolloutObjective):
    """Teach the coefficients of the rest of the force of a `BondedLangevinFlowMap`.

    Its parts are those of `DynamicsObjective`, said of these coefficients: at a step of no
    length they are the force of the data less the bonded forces; of short steps they are tied to
    the teacher's force along the path, of longer ones to two half steps of the teacher. The motion
    under the bonded forces has no weights, so that no gradient goes through it. With
    ``objective.curl_share`` the force where some steps begin is taught to be a gradient besides
    (`curl_share`), which needs no labels: it is looked at where chains of the map come.
    """

    def __init__(self, flow_map: DynamicsFlowMap, config: DynamicsObjectiveConfig):
        super().__init__(flow_map, config)
        self.curl_share = config.curl_share

    def forward(
        self,
        flow_map: BondedLangevinFlowMap,
        teacher: BondedLangevinFlowMap,
        batch: dict[str, Any],
    ) -> list[Residuals]:
        """Return the residuals of one batch of `DynamicsBatches`."""
        state = flow_map.scales.temperature, batch["friction"]
        student, teacher = flow_map.at(*state), teacher.at(*state)
        local, x = batch["local"], student.start(batch["positions"], batch["normal"])
        h = torch.cat([batch["lag"].new_zeros(local), batch["lag"]])
        known = student.motion.bonded(batch["positions"][:local])
        rest = (batch["forces"][:local] - known) / student.sde.masses.to(x)
        targets = [torch.stack([rest, *[torch.zeros_like(rest)] * (student.outputs - 1)])]
        paths = [student.still(batch["positions"][:local])]
        watched: dict[str, tuple[Tensor, int]] = {}
        if local < len(x):
            x = self.starts(x[local:], batch)
            left, right = halves_of(student, batch)
            with torch.no_grad():
                joined = join(left, right).whitened()
                paths.append(student.path(batch["lag"], x, joined))
                more, watched = self._targets(teacher, x, left, right, batch)
                targets += more
        predicted = student.rest(h, torch.cat(paths, dim=1))
        error = rest_error(student, h, predicted - torch.cat(targets, dim=1))
        found = [residuals_of(self, error, h, batch, watched)]
        first, last = batch["anchored"], len(batch["lag"])
        if count := round((last - first) * self.curl_share):
            part = slice(first, first + count)
            begun = x[part, 0]
            # To where the step is on average, but for the rest of the force.
            values = curl_share(student, begun, paths[1][0, part] - begun)
            none = torch.zeros_like(values)
            found.append(Residuals(values, none, none, {"curl": count}))
        return found

    def _targets(
        self, teacher, x, left, right, batch
    ) -> tuple[list[Tensor], dict[str, tuple[Tensor, int]]]:
        k, targets, watched = batch["anchored"], [], {}
        if k:
            s, t, halves = part_of(batch, slice(0, k), left, right)
            targets.append(teacher.short_map().rest(t, x[:k], join(*halves).whitened()))
        if k < len(x):
            s, t, halves = part_of(batch, slice(k, None), left, right)
            rest, middle, late = composed_rest(teacher, t, x[k:], *halves)
            targets.append(rest)
            count = len(batch["slots"])
            if count:
                half, end = 0.5 * t[:count], halves[1]
                end = Increment.from_whitened(end.basis, half, end.whitened()[:count])
                mean = teacher.implied(half, middle[:count], end.whitened(), late[:, :count])
                start = torch.zeros_like(half)
                states = teacher.sde.apply(start, half, middle[:count], mean, end)
                watched = self.keep(teacher, states, batch["slots"])
        return targets, watched
