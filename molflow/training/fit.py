"""`molflow.fit`: train any flow map by any objective."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader, Dataset

from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import writable_folder
from molflow.flow_map.base import FlowMap
from molflow.objectives.residuals import Objective
from molflow.training.callbacks import Export, History, Scores, Validation, Write
from molflow.training.checkpoint_io import SafetensorsCheckpointIO
from molflow.training.clock import TrainingClock
from molflow.training.loss_weight import LossWeight
from molflow.training.module import FlowMapTraining
from molflow.training.optimisation import Optimisation
from molflow.training.processes import Processes, find_processes
from molflow.training.surroundings import own_surroundings
from molflow.workers import number_of_jobs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """The steps that a source of batches is asked for at once.

    Attributes
    ----------
    number : int
        Of the epoch, from 0.
    first, count : int
        Number of its first step in the whole run, and how many it has.
    rank, ranks : int
        The process that asks, and how many train together. Each has batches of its own: the weights
        move by the mean over all of them.
    """

    number: int
    first: int
    count: int
    rank: int = 0
    ranks: int = 1

    def names(self, index: int) -> tuple[int, ...]:
        """Return what makes the seed of a batch its own, see `derive_seed`."""
        return (self.number, index, self.rank) if self.rank else (self.number, index)


#: The batches of an epoch, `Epoch.count` of them.
Batches = Callable[[Epoch], Iterable[Any] | Dataset[Any]]


#: Processes that draw batches where an accelerator is at work: a step takes no longer there than
#: one of them needs for a batch of a thousand molecules.
_WORKERS = 4


class _Source(lightning.LightningDataModule):
    """Hands the trainer the batches of the current epoch.

    Parameters
    ----------
    settings : Optimisation
    batches : callable
    workers : int
        Processes that draw batches ahead of the step that takes them, the same ones in the same
        order; with none the trainer draws them itself.
    """

    def __init__(self, settings: Optimisation, batches: Batches, workers: int):
        super().__init__()
        self.settings, self.batches, self.workers = settings, batches, workers

    def train_dataloader(self) -> Iterable[Any]:
        """Return the batches of one epoch."""
        assert self.trainer is not None, "a trainer asks"
        number, count = self.trainer.current_epoch, self.settings.steps_per_epoch
        first = number * count
        count = min(count, self.settings.steps - first)
        place = self.trainer.global_rank, self.trainer.world_size
        items = self.batches(Epoch(number, first, count, *place))
        if self.workers and isinstance(items, Dataset) and isinstance(items, Sized):
            # Forked, which is safe for what touches no device: nothing is pickled, and the program
            # of the caller does not run again in each of them.
            items = DataLoader(
                items, batch_size=None, num_workers=self.workers, multiprocessing_context="fork"
            )
        return _Items(items, count)


@dataclass(frozen=True)
class _Items:
    items: Iterable[Any] | Dataset[Any]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        return iter(self.items)


def fit(
    flow_map: FlowMap,
    objective: Objective,
    batches: Batches,
    settings: Optimisation | None = None,
    *,
    weight: LossWeight | None = None,
    out: str | Path | None = None,
    validation: Scores | None = None,
    write: Write | None = None,
    advice: str = "",
    on_host: tuple[str, ...] = (),
    compiled: bool = False,
    captured: bool = False,
    device: str | torch.device = "auto",
    devices: int | None = None,
    nodes: int | None = None,
    progress: bool = False,
) -> FlowMap:
    """Train a flow map; with a folder, run the same call again to resume.

    Nothing outside changes: neither random generators nor the settings of torch, of warnings or of
    logs.

    Parameters
    ----------
    flow_map : FlowMap
        Trained in place.
    objective : callable
        ``(flow_map, teacher, batch) -> residuals (B,)``, a tensor or `Residuals`; `teacher` is an
        average of the weights so far. A `torch.nn.Module` where it has weights, which are trained
        too, or a state.
    batches : callable
        ``epoch -> batches``: those of an `Epoch`, drawn from seeds so that a run can be resumed. A
        `torch.utils.data.Dataset` with a length is asked in other processes where a GPU is at work.
    settings : Optimisation, optional
        Length, rates and averages.
    weight : LossWeight, optional
        Learned weight of residuals by the ends of their steps; they must say them then.
    out : path, optional
        Folder for ``metrics.csv``, TensorBoard events and the state that is resumed from. Without
        it nothing is written.
    validation : callable, optional
        ``flow_map -> dict`` of scores, asked each `settings.validate_every` epochs for the map
        with averaged weights.
    write : callable, optional
        ``(flow_map, steps, rows)``, called at the end of each epoch with the map with averaged
        weights, the number of steps and the rows of ``metrics.csv``.
    advice : str
        Ends the sentence that tells of a gradient that is no number.
    on_host : tuple of str
        Entries of a batch, then a dictionary, that stay on the processor.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first.
    captured : bool
        Whether the kernels of a step are captured as CUDA graphs at the first batch, and replayed:
        on a GPU steps on small molecules are several times faster. Batches are then dictionaries
        of tensors and whole numbers, the same ones in all of equal shapes.
    device : str or torch.device
        See `molflow.devices.find_device`.
    devices, nodes : int, optional
        Processes on each machine that train together, one a device, and machines. Each has batches
        of its own, so that a step learns from as many times more; gradients are averaged. By
        default those that ``torchrun`` or ``srun`` has started, or one. Several that nobody has
        started are started here, by running the program again with the same arguments: only a
        script or a verb of the command line can ask for them, a notebook cannot.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    FlowMap
        The map with averaged weights, in evaluation mode.

    Raises
    ------
    NoNumberError
        If a gradient is infinite or no number.
    MolflowError
        If a device is not there, is no GPU where steps are to be captured, or the state in `out`
        is damaged.
    """
    settings, place = Optimisation() if settings is None else settings, find_device(device)
    processes = find_processes(devices, nodes, place)
    if captured and place.type != "cuda":
        raise MolflowError(
            f"captured (--capture) is True, and the device is '{place}': only the kernels of a GPU "
            "are captured as graphs. Leave it out."
        )
    if captured and (on_host or processes.several):
        cause = "several processes train" if processes.several else "a step is planned on the host"
        raise MolflowError(
            f"captured (--capture) is True, and {cause}, which a graph cannot hold: leave it out."
        )
    if settings.seconds is not None and processes.several:
        raise MolflowError(
            f"seconds is {settings.seconds:g}, and several processes, each with a clock of its "
            "own, cannot end together by it: leave it out, or train in one."
        )
    clock = TrainingClock(settings)
    module = FlowMapTraining(
        flow_map.train(), objective, settings, weight, advice, on_host, clock, captured
    )
    if compiled:
        for trained in (module.flow_map, module.teacher):
            trained.compile_parts()
    out = None if out is None else writable_folder(out)
    history = History(None if out is None else out / "metrics.csv")
    callbacks: list[lightning.Callback] = [clock, history]
    if validation is not None:
        callbacks.insert(1, Validation(validation, settings.validate_every))
    if write is not None:
        callbacks.append(Export(write, history))
    several = place.type != "cpu" and "fork" in multiprocessing.get_all_start_methods()
    workers = number_of_jobs(None, _WORKERS) if several else 0
    source = _Source(settings, batches, workers)
    with own_surroundings():
        _run(module, source, settings, out, callbacks, place, processes, progress)
    return module.averaged.cpu().eval()


def _run(
    module: FlowMapTraining,
    source: _Source,
    settings: Optimisation,
    out: Path | None,
    callbacks: Sequence[lightning.Callback],
    device: torch.device,
    processes: Processes,
    progress: bool,
) -> None:
    callbacks, previous = list(callbacks), None
    if out is not None:
        previous = out / "state" / "last.safetensors"
        callbacks.append(_state(previous))
    if progress:
        callbacks.append(RichProgressBar())
    trainer = lightning.Trainer(
        accelerator=device.type,
        devices=processes.devices if device.index is None else [device.index],
        num_nodes=processes.nodes,
        strategy="ddp" if processes.several else "auto",
        # Batches know their process; a sampler of Lightning's would deal them out again.
        use_distributed_sampler=False,
        # Not max_steps: with it Lightning resumes inside the epoch that the state has finished.
        max_epochs=-(-settings.steps // settings.steps_per_epoch),
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=settings.gradient_clip,
        logger=False if out is None else _events(out),
        callbacks=callbacks,
        plugins=[SafetensorsCheckpointIO()],
        enable_checkpointing=out is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=min(50, settings.steps_per_epoch, settings.steps),
        deterministic=True,
    )
    resumed = str(previous) if previous is not None and previous.exists() else None
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, source, ckpt_path=resumed)
    except SystemExit as error:
        # Lightning answers an interruption by ignoring all further ones and exiting with 1.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error


def _events(out: Path) -> Logger:
    """Return what writes TensorBoard's events; nothing is written where it is not installed."""
    if find_spec("tensorboard") is None:
        _log.info(
            "no events for TensorBoard are written, which is not installed: "
            "pip install 'molflow[tensorboard]'. metrics.csv has the same numbers."
        )
        return DummyLogger()  # with none at all Lightning keeps no metrics either
    return TensorBoardLogger(out, name="", version="tensorboard")


def _state(path: Path) -> ModelCheckpoint:
    # Without the counter a run in a folder that was moved would write "last-v1" and resume "last".
    state = ModelCheckpoint(
        path.parent,
        filename=path.stem,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    state.FILE_EXTENSION = path.suffix
    return state
