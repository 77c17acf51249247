"""The Lightning module: objectives, teacher, optimiser."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from molflow.brownian.increment import Increment
from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.nn.embedding import StepEmbedding
from molflow.objectives.denoising import denoising_residual, noised, weighted
from molflow.objectives.semigroup import semigroup_residual
from molflow.training.configuration import TrainingConfig
from molflow.training.schedule import learning_rate_factor


class StrongMapTraining(lightning.LightningModule):
    """Train a flow map by local matching, then local matching and semigroup with an EMA teacher.

    The step is a function of the batch alone (see `StepBatches`), and the whole module is what a
    distributed strategy wraps, so gradients of both objectives are averaged.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    config : TrainingConfig
    """

    def __init__(self, flow_map: DenoiserFlowMap, config: TrainingConfig):
        super().__init__()
        self.flow_map, self.config = flow_map, config
        self.averaged = AveragedModel(
            flow_map, multi_avg_fn=_averaging(config.ema_decay), use_buffers=False
        )
        self.averaged.requires_grad_(False)
        # Log-variance of the loss as a function of both times; starts at weight one.
        self.log_variance = nn.Sequential(
            StepEmbedding(flow_map.sde.duration, 32), nn.Linear(32, 1, bias=False)
        )
        nn.init.zeros_(self.log_variance[1].weight)

    @property
    def teacher(self) -> DenoiserFlowMap:
        """The flow map with exponentially averaged weights."""
        return self.averaged.module

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""
        clean, normal = batch["clean"], batch["normal"]
        s, long = batch["local_time"], len(batch["start"])
        local = len(s)
        noisy = noised(clean[:local], self.flow_map.sde.sigma(s), normal[:local])
        residual = denoising_residual(self.flow_map, s, clean[:local], noisy)
        loss = weighted(residual, self._log_variance(s, s)) * (local / (local + long))
        self._log("loss/local", residual.mean())
        if long:
            s, t = batch["start"], batch["end"]
            u = 0.5 * (s + t)
            x = noised(clean[local:], self.flow_map.sde.sigma(s), normal[local:])
            basis = self.flow_map.basis
            left = Increment.from_whitened(basis, u - s, batch["left"])
            right = Increment.from_whitened(basis, t - u, batch["right"])
            residual = semigroup_residual(self.flow_map, self.teacher, s, u, t, x, left, right)
            loss = loss + weighted(residual, self._log_variance(s, t)) * (long / (local + long))
            self._log("loss/semigroup", residual.mean())
        self._log("loss/weighted", loss)
        return loss

    def _log_variance(self, s: Tensor, t: Tensor) -> Tensor:
        embedding, readout = self.log_variance
        return readout(embedding(s, t)).squeeze(-1)

    def _log(self, name: str, value: Tensor) -> None:
        self.log(name, value.detach(), on_step=False, on_epoch=True, sync_dist=True)

    def on_train_batch_end(self, *_) -> None:
        """Move the teacher towards the student."""
        self.averaged.update_parameters(self.flow_map)

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
