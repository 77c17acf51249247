"""How fast the shipped map is trained on: whole epochs of the trainer, and its steps alone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial

import torch
from arithmetic import PRECISIONS, precision
from drawing import SYSTEM
from notes import Notes

from molflow.maps.denoiser.batches import StepBatches, TimeLaw, local_counts
from molflow.maps.denoiser.draw import BLOCK, draw_blocks
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.maps.denoiser.stiff_norm import StiffNorm, stiff_pairs
from molflow.nn.graph import MolecularGraph
from molflow.objectives.registry import OBJECTIVES
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch, fit
from molflow.training.loss_weight import LossWeight
from molflow.training.module import FlowMapTraining


class Ingredients:
    """What the shipped map is trained on with: its own configuration, and conformations of its own.

    Parameters
    ----------
    device : torch.device
    batch : int
        Molecules a step.
    """

    def __init__(self, device: torch.device, batch: int):
        given = load_checkpoint(SYSTEM, device)
        blocks = range(max(1, min(batch, 4096) // BLOCK))
        with torch.no_grad():
            self.frames = draw_blocks(given.flow_map, blocks, 4, 0, given.n_atoms).cpu()
        self.device, self.batch = device, batch
        self.flow_map = given.flow_map.cpu().requires_grad_(True).train()
        told = given.description["configuration"]
        self.config = TrainingConfig.model_validate(told | {"batch_size": batch})
        objective, graph = self.config.objective, given.description["graph"]
        pairs = stiff_pairs(MolecularGraph.from_dict(graph))
        sde = self.flow_map.sde
        norm = StiffNorm(sde, pairs, objective.stiffness, objective.stiff_below)
        self.objective = DenoiserObjective(OBJECTIVES[objective.family], norm)
        self.weight = LossWeight(sde.duration, objective.least_variance)

    def batches(self, epoch: Epoch) -> StepBatches:
        """Return the batches of an epoch, drawn on the processor as in any training."""
        objective = self.config.objective
        law, size = TimeLaw(self.flow_map.clock, objective), self.flow_map.basis.size
        local = local_counts(objective, self.batch, epoch.first, epoch.count)
        return StepBatches(self.frames, law, size, self.batch, local, 0, epoch)


class Steps:
    """Steps of the trainer without it, on one batch that is on the device already."""

    def __init__(
        self, device: torch.device, batch: int, compiled: bool = False, captured: bool = False
    ):
        made = Ingredients(device, batch)
        config = made.config
        self.module = FlowMapTraining(
            made.flow_map, made.objective, config, made.weight, captured=captured
        )
        self.module.log = lambda *given, **settings: None  # there is no trainer
        self.module.to(device)
        if compiled:
            for trained in (self.module.flow_map, self.module.teacher):
                trained.compile_parts()
        first = made.batches(Epoch(0, 0, 1))[0]
        self.batch = self.module.transfer_batch_to_device(first, device, 0)
        self.optimiser = self.module.configure_optimizers()["optimizer"]
        self.clip, self.taken = config.gradient_clip, 0

    @property
    def networks(self) -> tuple:
        """The two that are asked."""
        return self.module.flow_map.network, self.module.teacher.network

    def step(self) -> None:
        """Move the weights once."""
        self.optimiser.zero_grad()
        self.module.training_step(self.batch, 0).backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters_to_train(), self.clip)
        self.module.on_before_optimizer_step(self.optimiser)
        self.optimiser.step()
        self.taken += 1
        self.module.averages.update(self.module.flow_map, self.taken)


def learning(notes: Notes, sizes: dict) -> None:
    """Measure steps at each batch in each precision, and whole epochs in float32."""
    for batch in sizes["training_batches"]:
        for name in PRECISIONS:
            notes.take(f"{batch}, {name}", partial(_steps, notes, batch, name))
    for batch in sizes["training_batches"][1:3]:
        for name in PRECISIONS:
            make = partial(_steps, notes, batch, name, captured=True)
            notes.take(f"{batch}, {name}, graph", make)
        notes.take(f"{batch}, trainer", partial(_epochs, notes, batch, sizes["epoch"]))
    batch = sizes["training_batches"][-2]
    notes.take(f"{batch}, float32, deterministic", partial(_repeatable, notes, batch))


def compiled_learning(notes: Notes, sizes: dict, name: str) -> None:
    """Measure steps of compiled networks in one precision, at the last but one of the batches."""
    batch = sizes["training_batches"][-2]
    notes.take(f"{batch}, {name}, compiled", partial(_steps, notes, batch, name, compiled=True))


def _steps(
    notes: Notes, batch: int, name: str, compiled: bool = False, captured: bool = False
) -> dict:
    if captured and notes.device.type != "cuda":
        return {"failed": "there are CUDA graphs on a GPU only"}
    steps = Steps(notes.device, batch, compiled, captured)
    begun = time.perf_counter()
    with precision(name, *steps.networks):
        steps.step()
        notes.wait()
        first = time.perf_counter() - begun
        seconds = notes.seconds(steps.step)
        return {
            "batch": batch, "seconds_of_a_step": seconds, "molecules_a_second": batch / seconds,
            "seconds_of_the_first": first, "peak_bytes": notes.peak(steps.step),
            "waits": notes.waits(steps.step),
        }  # fmt: skip


def _epochs(notes: Notes, batch: int, count: int) -> dict:
    """Return what epochs of `molflow.fit` take, batches and copies included."""
    made, begun, ended = Ingredients(notes.device, batch), [], []
    epochs = 3
    settings = made.config.model_copy(
        update={"steps": epochs * count, "steps_per_epoch": count, "validate_every": epochs}
    )

    def batches(epoch: Epoch) -> StepBatches:
        begun.append(time.perf_counter())
        return made.batches(epoch)

    def write(flow_map, steps: int, rows: list[dict]) -> None:
        # Its losses have been read, so that the device has done all it was told.
        ended.append(time.perf_counter())

    with notes.alone():
        fit(
            made.flow_map, made.objective, batches, settings, weight=made.weight, write=write,
            device=notes.device,
        )  # fmt: skip
    each = [(stop - start) / count for start, stop in zip(begun, ended, strict=True)]
    drawn = notes.seconds(lambda: made.batches(Epoch(0, 0, 1))[0])
    return {
        "batch": batch, "seconds_of_a_step": min(each[-2:]),
        "molecules_a_second": batch / min(each[-2:]), "seconds_of_drawing_a_batch": drawn,
    }  # fmt: skip


def _repeatable(notes: Notes, batch: int) -> dict:
    with _deterministic():
        return _steps(notes, batch, "float32")


@contextmanager
def _deterministic():
    """As the trainer has torch."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
