"""Training of a map of dynamics: objectives of one step, and rollouts that are kept going."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.devices import upload
from molflow.maps.dynamics.rollouts import DynamicsTraining
from molflow.maps.dynamics.thermal_norm import ThermalNorm
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.langevin.mean_point import MeanPointMap
from molflow.objectives.eulerian import mean_flow_target
from molflow.objectives.matching import implied_mean
from molflow.objectives.norm import residual
from molflow.objectives.semigroup import composed_mean
from molflow.objectives.weighting import weighted


class LangevinTraining(DynamicsTraining):
    """Train a map of dynamics by force matching, then with steps of all lengths.

    At a step of no length the map says the force of the data. Short steps are tied to two steps of
    half their length of the teacher's `MeanPointMap`, longer ones to two half steps of the
    teacher, by MeanFlow to the force of the data and the teacher's derivative along the path, or to
    the ends of paths under the true force.
    Some of those start from states that the teacher itself has reached (`DynamicsTraining`).

    Parameters
    ----------
    flow_map : LangevinFlowMap or OverdampedFlowMap
    config : TrainingConfig
    """

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""
        state = self.flow_map.scales.temperature, batch["friction"]
        student, teacher = self.flow_map.at(*state), self.teacher.at(*state)
        local, x = batch["local"], student.start(batch["positions"], batch["normal"])
        targets = [student.constant(batch["forces"][:local])]
        h = torch.cat([batch["lag"].new_zeros(local), batch["lag"]])
        whitened = student.no_features(x)
        if local < len(x):
            x = torch.cat([x[:local], self._starts(x[local:], batch)])
            left, right = self._halves(batch, student)
            whitened[local:] = join(left, right).whitened()
            targets += self._targets(teacher, x[local:], left, right, batch)
        if "path_start" in batch:
            x, h = torch.cat([x, batch["path_start"]]), torch.cat([h, batch["path_lag"]])
            whitened = torch.cat([whitened, batch["path_noise"]])
            targets.append(path_target(student, batch))
        start = torch.zeros_like(h)
        predicted = student.mean(start, h, x, whitened)
        norm = ThermalNorm(student, h)
        error = residual(student, start, predicted, torch.cat(targets), norm)
        self._log_parts(error, batch)
        clock = self._clock(h).float()
        log_variance = self._log_variance(torch.zeros_like(clock), clock)
        loss = weighted(error, log_variance)
        self._log("loss/weighted", loss, len(x))
        return loss

    @torch.no_grad()
    def _targets(
        self, teacher, x: Tensor, left: Increment, right: Increment, batch: dict[str, Tensor]
    ) -> list[Tensor]:
        k, last = batch["anchored"], len(x) - batch["mean_flow"]
        targets = []
        for part, model in ((slice(0, k), MeanPointMap(teacher)), (slice(k, last), teacher)):
            if not len(x[part]):
                continue
            s, t, halves = self._part(batch, part, left, right)
            targets.append(composed_mean(model, model, s, 0.5 * t, t, x[part], *halves))
        if len(batch["slots"]):
            end = teacher.sde.apply(s, t, x[part], targets[-1], join(*halves))
            self._keep(end[: len(batch["slots"])], batch["slots"])
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
        return targets


def path_target(flow_map: LangevinFlowMap, batch: dict[str, Tensor]) -> Tensor:
    """Return the n̄ that takes the starts of steps along paths to their ends; see `PathSteps`."""
    lag = batch["path_lag"]
    increment = Increment.from_whitened(flow_map.basis, lag, batch["path_noise"])
    ends = torch.zeros_like(lag), lag
    return implied_mean(flow_map.sde, *ends, batch["path_start"], increment, batch["path_end"])
