"""Training of a map of dynamics: objectives of one step, and rollouts that are kept going."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.langevin import CLOCK, LangevinFlowMap
from molflow.flow_map.mean_point import MeanPointMap
from molflow.flow_map.overdamped import OverdampedFlowMap
from molflow.objectives.eulerian import mean_flow_target
from molflow.objectives.norm import residual
from molflow.objectives.semigroup import composed_mean
from molflow.objectives.thermal_norm import ThermalNorm
from molflow.objectives.weighting import weighted
from molflow.training.configuration import TrainingConfig
from molflow.training.map_training import MapTraining
from molflow.units import thermal_energy

#: A velocity that no atom has in equilibrium, in thermal widths, and a kinetic temperature that no
#: molecule has, in that of the bath: a rollout that has come so far would teach nothing of use.
_TOO_FAST, _TOO_HOT = 6.0, 3.0


class LangevinTraining(MapTraining):
    """Train a map of dynamics by force matching, then with steps of all lengths.

    At a step of no length the map says the force of the data. Short steps are tied to two steps of
    half their length of the teacher's `MeanPointMap`, longer ones to two half steps of the
    teacher, or by MeanFlow to the force of the data and the teacher's derivative along the path.
    Some of those start from states that the teacher itself has reached: the ends of such
    steps are kept in the buffer `rollouts` and go on from there in later batches, until they begin
    anew from a frame of the data, at random or because they are broken. The buffer is part of the
    resumable state.

    Parameters
    ----------
    flow_map : LangevinFlowMap or OverdampedFlowMap
    config : TrainingConfig
    """

    def __init__(self, flow_map: LangevinFlowMap | OverdampedFlowMap, config: TrainingConfig):
        super().__init__(flow_map, config, CLOCK)
        slots, atoms = config.objective.rollouts, len(flow_map.scales.masses)
        inner = (2,) if isinstance(flow_map, LangevinFlowMap) else ()
        self.register_buffer("rollouts", torch.zeros(slots, *inner, atoms, 3))
        #: Steps since a rollout began; 0 for none yet.
        self.register_buffer("ages", torch.zeros(slots, dtype=torch.long))

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
        start = torch.zeros_like(h)
        predicted = student.mean(start, h, x, whitened)
        norm = ThermalNorm(student, h)
        error = residual(student, start, predicted, torch.cat(targets), norm)
        self._log_parts(error, batch)
        log_variance = self._log_variance(*(end.float() for end in (start, self._clock(h))))
        loss = weighted(error, log_variance)
        self._log("loss/weighted", loss, len(x))
        return loss

    def _clock(self, h: Tensor) -> Tensor:
        return CLOCK * h / self.flow_map.scales.longest_lag

    def _halves(self, batch: dict[str, Tensor], flow_map) -> tuple[Increment, Increment]:
        half = 0.5 * batch["lag"]
        parts = (
            Increment.from_whitened(flow_map.basis, half, batch[name]) for name in ("left", "right")
        )
        return tuple(parts)

    def _starts(self, x: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Put the states of rollouts that go on in the places of frames."""
        slots, first = batch["slots"], batch["anchored"]
        if not len(slots):
            return x
        anew = batch["restart"] | (self.ages[slots] == 0)
        self.ages[slots] = torch.where(anew, 0, self.ages[slots])
        fresh = x[first : first + len(slots)]
        shape = (-1,) + (1,) * (x.ndim - 1)
        rolled = torch.where(anew.reshape(shape), fresh, self.rollouts[slots])
        return torch.cat([x[:first], rolled, x[first + len(slots) :]])

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
            s, t, halves = self._part(batch, part, left, right)
            n = teacher.constant(batch["forces"][-batch["mean_flow"] :])
            targets.append(mean_flow_target(teacher, s, t, x[part], n, join(*halves)))
        return targets

    def _part(
        self, batch: dict[str, Tensor], part: slice, left: Increment, right: Increment
    ) -> tuple[Tensor, Tensor, list[Increment]]:
        """Return the ends of some steps and the increments of their halves."""
        t = batch["lag"][part]
        halves = [
            Increment.from_whitened(one.basis, one.h[part], one.whitened()[part])
            for one in (left, right)
        ]
        return torch.zeros_like(t), t, halves

    def _keep(self, states: Tensor, slots: Tensor) -> None:
        """Keep the ends of rollouts that are whole; the others begin anew."""
        whole = states.flatten(1).isfinite().all(1)
        if isinstance(self.flow_map, LangevinFlowMap):
            momenta = states[:, 1] * self.flow_map.root_masses.to(states)[:, None]
            energies = momenta.flatten(1).square()
            energies = energies / thermal_energy(self.flow_map.scales.temperature)
            whole &= (energies.amax(1) < _TOO_FAST**2) & (energies.mean(1) < _TOO_HOT)
            if bool(whole.any()):
                self._log("rollouts/temperature", energies[whole].mean(), int(whole.sum()))
        self.rollouts[slots] = torch.where(
            whole.reshape((-1,) + (1,) * (states.ndim - 1)), states, 0.0
        )
        self.ages[slots] = torch.where(whole, self.ages[slots] + 1, 0)
        self._log("rollouts/broken", 1.0 - whole.float().mean(), len(states))
        self._log("rollouts/age", self.ages[slots].float().mean(), len(states))

    def _log_parts(self, error: Tensor, batch: dict[str, Tensor]) -> None:
        local, k, m = batch["local"], batch["anchored"], batch["mean_flow"]
        parts = error.split([local, k, len(error) - local - k - m, m])
        names = ("local", "anchor", "semigroup", "mean_flow")
        for name, part in zip(names, parts, strict=True):
            if len(part):
                self._log(f"loss/{name}", part.mean(), len(part))
