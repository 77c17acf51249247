"""Training of a map of dynamics that knows bonded forces: the rest of the force along steps."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.dynamics.rollouts import DynamicsTraining
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.bonded_semigroup import composed_rest
from molflow.maps.langevin.path_quadrature import PathQuadratureMap
from molflow.maps.langevin.rest_norm import rest_error
from molflow.objectives.weighting import weighted


class BondedLangevinTraining(DynamicsTraining):
    """Train the coefficients of the rest of the force of a `BondedLangevinFlowMap`.

    Its objectives are those of `LangevinTraining`, said of these coefficients: at a step of no
    length they are the force of the data less the bonded forces; of short steps they are tied to
    the teacher's force along the path, of longer ones to two half steps of the teacher. The motion
    under the bonded forces has no weights, so that no gradient goes through it.
    """

    flow_map: BondedLangevinFlowMap

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""
        state = self.flow_map.scales.temperature, batch["friction"]
        student, teacher = self.flow_map.at(*state), self.teacher.at(*state)
        local, x = batch["local"], student.start(batch["positions"], batch["normal"])
        h = torch.cat([batch["lag"].new_zeros(local), batch["lag"]])
        known = student.motion.bonded(batch["positions"][:local])
        rest = (batch["forces"][:local] - known) / student.sde.masses.to(x)
        targets = [torch.stack([rest, *[torch.zeros_like(rest)] * (student.outputs - 1)])]
        paths = [student.still(batch["positions"][:local])]
        if local < len(x):
            x = self._starts(x[local:], batch)
            left, right = self._halves(batch, student)
            with torch.no_grad():
                joined = join(left, right).whitened()
                paths.append(student.path(batch["lag"], x, joined))
                targets += self._targets(teacher, x, left, right, batch)
        predicted = student.rest(h, torch.cat(paths, dim=1))
        error = rest_error(student, h, predicted - torch.cat(targets, dim=1))
        self._log_parts(error, batch)
        clock = self._clock(h).float()
        log_variance = self._log_variance(torch.zeros_like(clock), clock)
        loss = weighted(error, log_variance)
        self._log("loss/weighted", loss, len(h))
        return loss

    def _targets(self, teacher, x, left, right, batch) -> list[Tensor]:
        k, targets = batch["anchored"], []
        if k:
            s, t, halves = self._part(batch, slice(0, k), left, right)
            short = PathQuadratureMap(teacher)
            targets.append(short.rest(t, x[:k], join(*halves).whitened()))
        if k < len(x):
            s, t, halves = self._part(batch, slice(k, None), left, right)
            rest, middle, late = composed_rest(teacher, t, x[k:], *halves)
            targets.append(rest)
            count = len(batch["slots"])
            if count:
                half, end = 0.5 * t[:count], halves[1]
                end = Increment.from_whitened(end.basis, half, end.whitened()[:count])
                mean = teacher.implied(half, middle[:count], end.whitened(), late[:, :count])
                start = torch.zeros_like(half)
                self._keep(
                    teacher.sde.apply(start, half, middle[:count], mean, end), batch["slots"]
                )
        return targets
