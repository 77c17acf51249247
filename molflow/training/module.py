"""What is trained: a map, the averages of its weights, an objective and the weight of its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.objectives.residuals import Objective, Residuals, residuals_of
from molflow.objectives.weighting import weighted
from molflow.training.averages import Averages
from molflow.training.captured import CapturedObjective
from molflow.training.clock import TrainingClock
from molflow.training.loss_weight import LossWeight
from molflow.training.optimisation import Optimisation
from molflow.training.schedule import learning_rate_factor
from molflow.training.soap import Soap
from molflow.training.transfer import moved


class NoNumberError(MolflowError):
    """A gradient is infinite or no number."""


class FlowMapTraining(lightning.LightningModule):
    """Train a flow map with a teacher that is an average of its weights.

    A step is a function of the batch and of what the resumable state holds. All of it, derivatives
    by inputs too, happens inside this module, which is what a distributed strategy wraps, so that
    the gradients of all objectives are averaged. Each process goes on with buffers of its own.

    Parameters
    ----------
    flow_map : FlowMap
    objective : Objective
    settings : Optimisation
    weight : LossWeight, optional
        Without it every residual has the weight one.
    advice : str
        What else than the learning rate may help where a gradient is no number.
    on_host : tuple of str
        Entries of a batch, then a dictionary, that stay on the processor.
    clock : TrainingClock, optional
        Says how far the training is, for the learning rate.
    captured : bool
        Whether the objective is captured as CUDA graphs, see `CapturedObjective`.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        objective: Objective,
        settings: Optimisation,
        weight: LossWeight | None = None,
        advice: str = "",
        on_host: tuple[str, ...] = (),
        clock: TrainingClock | None = None,
        captured: bool = False,
    ):
        super().__init__()
        self.failed: Tensor
        self.flow_map, self.objective, self.settings = flow_map, objective, settings
        self.averages = Averages(flow_map, kept=settings.ema_decay, teacher=settings.teacher_decay)
        self.weight, self.advice, self.on_host = weight, advice, on_host
        self.captured = captured
        self._replayed: CapturedObjective | None = None
        self.clock = TrainingClock(settings) if clock is None else clock
        #: The first step whose gradient was no number; none if infinite.
        self.register_buffer("failed", torch.tensor(float("inf")), persistent=False)
        # Rollouts of one process are not those of another; this is what DDP looks for.
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    @property
    def teacher(self) -> FlowMap:
        """The flow map with the short average of the weights, which teaches long steps."""
        return self.averages["teacher"]

    @property
    def averaged(self) -> FlowMap:
        """The flow map with the long average of the weights, which is kept."""
        return self.averages["kept"]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, index: int) -> Any:
        """Move a batch, but for what steps are planned with on the processor."""
        kept = {name: batch[name] for name in self.on_host if name in batch}
        there = moved(batch, device)
        return {**there, **kept} if kept else there

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return the weighted loss of one batch and log its parts."""
        found = self._residuals(batch)
        values = torch.cat([one.values for one in found])
        for one in found:
            sizes = [*one.parts.values(), len(one.values) - sum(one.parts.values())]
            for name, part in zip(one.parts, one.values.split(sizes), strict=False):
                if len(part):
                    self._record(f"loss/{name}", part.mean(), len(part))
            for name, (value, size) in one.watched.items():
                self._record(name, value, size)
        if self.weight is None:
            loss = values.mean()
        else:
            loss = weighted(values, torch.cat([self.weight(one.s, one.t) for one in found]))
        self._record("loss/weighted", loss, len(values))
        return loss

    def _residuals(self, batch: Any) -> list[Residuals]:
        if not self.captured:
            return residuals_of(self.objective(self.flow_map, self.teacher, batch))
        if self._replayed is None:
            asked = self.objective, self.flow_map, self.teacher
            self._replayed = CapturedObjective(*asked)
        return self._replayed(batch)

    def _record(self, name: str, value: Tensor, size: int) -> None:
        self.log(
            name, value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=size
        )

    def on_before_optimizer_step(self, optimizer) -> None:
        """Raise `NoNumberError` rather than spoil the weights.

        An accelerator would have to be waited for, so that there it is looked at when an epoch
        ends, before anything is written.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        finite = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        step = torch.full_like(self.failed, self.global_step + 1)
        self.failed = torch.where(finite, self.failed, torch.minimum(self.failed, step))
        if self.failed.device.type == "cpu":
            self._check_gradients()

    def on_train_batch_start(self, batch, index) -> int | None:
        """Make no step more where a session resumes a training whose time is spent."""
        if not self.clock.spent:
            return None
        self.trainer.should_stop = True
        return -1

    def on_train_batch_end(self, outputs, batch, index) -> None:
        """Move the averages towards the student."""
        self.averages.update(self.flow_map, self.global_step)
        if self.trainer.is_last_batch or self.trainer.should_stop:
            self._check_gradients()

    def _check_gradients(self) -> None:
        if bool(self.failed.isinf()):
            return
        raise NoNumberError(
            f"the gradient of step {int(self.failed)} is not finite: training ended, and "
            "the run folder keeps what it had at the end of the epoch before. Begin another "
            f"run, with a learning_rate below {self.settings.learning_rate:g}{self.advice}."
        )

    def configure_optimizers(self):
        """Adam or SOAP with a warm-up, a plateau and a final cosine decay."""
        rules: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam, "soap": Soap,
        }  # fmt: skip
        optimizer = rules[self.settings.optimiser](
            self.parameters_to_train(), lr=self.settings.learning_rate, betas=(0.9, 0.99)
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(self.clock.reached(step), self.settings)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def parameters_to_train(self) -> list[nn.Parameter]:
        """Return the parameters of the student, of the objective and of the loss weight."""
        return [p for p in self.parameters() if p.requires_grad]
