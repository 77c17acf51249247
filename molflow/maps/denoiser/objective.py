"""Training of a map that samples: objectives of one step."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.denoiser.anchor import anchored_residual
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.norm import Norm
from molflow.objectives.semigroup import semigroup_residual
from molflow.objectives.weighting import weighted
from molflow.training.configuration import TrainingConfig
from molflow.training.map_training import MapTraining


class StrongMapTraining(MapTraining):
    """Train a flow map by local matching, then local matching and semigroup with a teacher.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    config : TrainingConfig
    norm : Norm
        How errors of the mean denoiser are measured.
    """

    def __init__(self, flow_map: DenoiserFlowMap, config: TrainingConfig, norm: Norm):
        super().__init__(flow_map, config, flow_map.sde.duration)
        self.norm = norm

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""
        clean, normal = batch["clean"], batch["normal"]
        s, long = batch["local_time"], len(batch["start"])
        local = len(s)
        noisy = noised(clean[:local], self.flow_map.sde.sigma(s), normal[:local])
        residual = matching_residual(self.flow_map, s, noisy, clean[:local], self.norm)
        self._log("loss/local", residual.mean(), local)
        log_variance = self._log_variance(s, s)
        if long:
            parts = self._long_steps(batch, clean[local:], normal[local:])
            residual = torch.cat([residual, *parts])
            log_variance = torch.cat(
                [log_variance, self._log_variance(batch["start"], batch["end"])]
            )
        loss = weighted(residual, log_variance)
        self._log("loss/weighted", loss, local + long)
        return loss

    def _long_steps(self, batch: dict[str, Tensor], clean: Tensor, normal: Tensor) -> list[Tensor]:
        s, t = batch["start"], batch["end"]
        u, k = 0.5 * (s + t), int(batch["anchored"])
        x = noised(clean, self.flow_map.sde.sigma(s), normal)
        basis = self.flow_map.basis

        def increment(name: str, length: Tensor, part: slice) -> Increment:
            return Increment.from_whitened(basis, length[part], batch[name][part])

        parts = []
        if k:
            one = slice(k)
            joined = join(increment("left", u - s, one), increment("right", t - u, one))
            parts.append(
                anchored_residual(
                    self.flow_map, self.teacher, s[one], t[one], x[one], joined, self.norm
                )
            )
            self._log("loss/anchor", parts[-1].mean(), k)
        if k < len(s):
            two = slice(k, None)
            halves = increment("left", u - s, two), increment("right", t - u, two)
            parts.append(
                semigroup_residual(
                    self.flow_map, self.teacher, s[two], u[two], t[two], x[two], *halves, self.norm
                )
            )
            self._log("loss/semigroup", parts[-1].mean(), len(s) - k)
        return parts
