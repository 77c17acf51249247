"""What the training of every kind of map has in common: averages, loss weight, optimiser."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.nn.embedding import StepEmbedding
from molflow.training.configuration import TrainingConfig
from molflow.training.schedule import learning_rate_factor


class NoNumberError(MolflowError):
    """A gradient is infinite or no number."""


class MapTraining(lightning.LightningModule, ABC):
    """Train a flow map with a teacher that is an average of its weights.

    The step is a function of the batch and of what the resumable state holds, and the whole module
    is what a distributed strategy wraps, so gradients of all objectives are averaged.

    Parameters
    ----------
    flow_map : FlowMap
    config : TrainingConfig
    duration : float
        Length of the clock on which the learned weight of the loss knows the two times.
    """

    def __init__(self, flow_map: FlowMap, config: TrainingConfig, duration: float):
        super().__init__()
        self.flow_map, self.config = flow_map, config
        self._averages = nn.ModuleDict(
            {
                name: AveragedModel(flow_map, multi_avg_fn=_averaging(decay), use_buffers=False)
                for name, decay in (("kept", config.ema_decay), ("teacher", config.teacher_decay))
            }
        ).requires_grad_(False)
        # Log-variance of the loss as a function of both times; starts at weight one.
        self.log_variance = nn.Sequential(
            StepEmbedding(duration, 32), nn.Linear(32, 1, bias=False)
        )
        nn.init.zeros_(self.log_variance[1].weight)

    @property
    def teacher(self) -> FlowMap:
        """The flow map with the short average of the weights, which teaches long steps."""
        return self._averages["teacher"].module

    @property
    def averaged(self) -> FlowMap:
        """The flow map with the long average of the weights, which is kept."""
        return self._averages["kept"].module

    @abstractmethod
    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""

    def _log_variance(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the learned log-variance, bounded so that no part of the loss outweighs all."""
        embedding, readout = self.log_variance
        least = math.log(self.config.objective.least_variance)
        return least + nn.functional.softplus(readout(embedding(s, t)).squeeze(-1) - least)

    def _log(self, name: str, value: Tensor, size: int) -> None:
        self.log(
            name, value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=size
        )

    def on_before_optimizer_step(self, optimizer) -> None:
        """Raise `NoNumberError` rather than spoil the weights."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if not bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all()):
            raise NoNumberError(
                f"the gradient of step {self.global_step + 1} is not finite: training ended, and "
                "the run folder keeps what it had at the end of the epoch before. Begin another "
                f"run, with a learning_rate below {self.config.learning_rate:g} or, if steps of "
                "the map have begun, more objective.local_steps than "
                f"{self.config.objective.local_steps}."
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
