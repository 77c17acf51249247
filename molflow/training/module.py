"""The Lightning module: objectives, teacher, optimiser."""

from __future__ import annotations

import math

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.nn.embedding import StepEmbedding
from molflow.objectives.anchor import anchored_residual
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.norm import Norm
from molflow.objectives.semigroup import semigroup_residual
from molflow.objectives.weighting import weighted
from molflow.training.configuration import TrainingConfig
from molflow.training.schedule import learning_rate_factor


class StrongMapTraining(lightning.LightningModule):
    """Train a flow map by local matching, then local matching and semigroup with a teacher.

    The step is a function of the batch alone (see `StepBatches`), and the whole module is what a
    distributed strategy wraps, so gradients of both objectives are averaged.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    config : TrainingConfig
    norm : Norm
        How errors of the mean denoiser are measured.
    """

    def __init__(self, flow_map: DenoiserFlowMap, config: TrainingConfig, norm: Norm):
        super().__init__()
        self.flow_map, self.config, self.norm = flow_map, config, norm
        self._averages = nn.ModuleDict(
            {
                name: AveragedModel(flow_map, multi_avg_fn=_averaging(decay), use_buffers=False)
                for name, decay in (("kept", config.ema_decay), ("teacher", config.teacher_decay))
            }
        ).requires_grad_(False)
        # Log-variance of the loss as a function of both times; starts at weight one.
        self.log_variance = nn.Sequential(
            StepEmbedding(flow_map.sde.duration, 32), nn.Linear(32, 1, bias=False)
        )
        nn.init.zeros_(self.log_variance[1].weight)

    @property
    def teacher(self) -> DenoiserFlowMap:
        """The flow map with the short average of the weights, which teaches long steps."""
        return self._averages["teacher"].module

    @property
    def averaged(self) -> DenoiserFlowMap:
        """The flow map with the long average of the weights, which is kept."""
        return self._averages["kept"].module

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

    def _log_variance(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the learned log-variance, bounded so that no part of the loss outweighs all."""
        embedding, readout = self.log_variance
        least = math.log(self.config.objective.least_variance)
        return least + nn.functional.softplus(readout(embedding(s, t)).squeeze(-1) - least)

    def _log(self, name: str, value: Tensor, size: int) -> None:
        self.log(
            name, value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=size
        )

    def on_train_batch_end(self, *_) -> None:
        """Move the averages towards the student."""
        for average in self._averages.values():
            average.update_parameters(self.flow_map)

    def configure_optimizers(self):
        """Adam with a warm-up, a plateau and a final cosine decay."""
        optimizer = torch.optim.AdamW(
            self.parameters_to_train(),
            lr=self.config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self.config)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def parameters_to_train(self) -> list[nn.Parameter]:
        """Return the parameters of the student and of the loss weight."""
        return [p for p in self.parameters() if p.requires_grad]


def _averaging(decay: float):
    """Exponential average whose memory grows with the run, so that the start is soon forgotten."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        kept = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        torch._foreach_lerp_(averaged, current, 1.0 - kept)

    return update
