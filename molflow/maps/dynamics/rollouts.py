"""What the training of maps of dynamics has in common: rollouts that are kept going."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.devices import upload
from molflow.maps.dynamics.flow_map import CLOCK, DynamicsFlowMap
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.training.configuration import TrainingConfig
from molflow.training.map_training import MapTraining
from molflow.units import thermal_energy

#: A velocity that no atom has in equilibrium, in thermal widths, and a kinetic temperature that no
#: molecule has, in that of the bath: a rollout that has come so far would teach nothing of use.
_TOO_FAST, _TOO_HOT = 6.0, 3.0


class DynamicsTraining(MapTraining):
    """Train a map of dynamics, part of it from states that the teacher has reached.

    The ends of steps of the teacher are kept in the buffer `rollouts` and go on from there in later
    batches, until they begin anew from a frame of the data, at random or because they are broken.
    The buffer is part of the resumable state.

    Parameters
    ----------
    flow_map : DynamicsFlowMap
    config : TrainingConfig
    """

    def __init__(self, flow_map: DynamicsFlowMap, config: TrainingConfig):
        super().__init__(flow_map, config, CLOCK)
        slots, atoms = config.objective.rollouts, len(flow_map.scales.masses)
        inner = (2,) if isinstance(flow_map, InertialFlowMap) else ()
        self.register_buffer("rollouts", torch.zeros(slots, *inner, atoms, 3))
        #: Steps since a rollout began; 0 for none yet.
        self.register_buffer("ages", torch.zeros(slots, dtype=torch.long))

    def transfer_batch_to_device(self, batch: dict, device: torch.device, index: int) -> dict:
        """Move a batch, but for the lengths of its steps, which are planned on the processor."""
        kept = {name: batch[name] for name in ("lag", "path_lag") if name in batch}
        return {**super().transfer_batch_to_device(batch, device, index), **kept}

    def _clock(self, h: Tensor) -> Tensor:
        return upload(CLOCK * h / self.flow_map.scales.longest_lag, self.rollouts.device)

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
        if isinstance(self.flow_map, InertialFlowMap):
            momenta = states[:, 1] * self.flow_map.root_masses.to(states)[:, None]
            energies = momenta.flatten(1).square()
            energies = energies / thermal_energy(self.flow_map.scales.temperature)
            whole &= (energies.amax(1) < _TOO_FAST**2) & (energies.mean(1) < _TOO_HOT)
            if count := int(whole.sum()):
                self._log("rollouts/temperature", energies[whole].mean(), count)
        self.rollouts[slots] = torch.where(
            whole.reshape((-1,) + (1,) * (states.ndim - 1)), states, 0.0
        )
        self.ages[slots] = torch.where(whole, self.ages[slots] + 1, 0)
        self._log("rollouts/broken", 1.0 - whole.float().mean(), len(states))
        self._log("rollouts/age", self.ages[slots].float().mean(), len(states))

    def _log_parts(self, error: Tensor, batch: dict[str, Tensor]) -> None:
        local, k, m = batch["local"], batch["anchored"], batch["mean_flow"]
        direct = len(batch.get("path_lag", ()))
        parts = error.split([local, k, len(error) - local - k - m - direct, m, direct])
        names = ("local", "anchor", "semigroup", "mean_flow", "direct")
        for name, part in zip(names, parts, strict=True):
            if len(part):
                self._log(f"loss/{name}", part.mean(), len(part))
