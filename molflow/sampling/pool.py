"""Pieces of work on a checkpoint, in processes or on a cluster and in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.farm import Farm, Jobs
from molflow.files import write_arrays
from molflow.parts import kept_arrays
from molflow.progress import track
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import Checkpoint, open_checkpoint
from molflow.workers import visible_gpus

#: What workers return.
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Workplace:
    """A checkpoint with where work on it is done.

    Attributes
    ----------
    checkpoint : Checkpoint
        As this process has it.
    device : str
        Where workers of a cluster have it; those of this machine have it where this process does.
    jobs : int, str or None
        See `molflow.farm.Farm`.
    """

    checkpoint: Checkpoint
    device: str
    jobs: Jobs

    def farm(
        self, make: Callable[[Checkpoint, Any], Any], wanted: Any, tasks: int, alone: bool = False
    ) -> Farm:
        """Return a farm whose processes make ``make(checkpoint, wanted)``.

        Several processes of this machine on GPUs have one each, in turn.

        Parameters
        ----------
        make : class
            What it makes does not depend on what was done before.
        wanted
            What is asked of all; can be pickled.
        tasks : int
            How many there are.
        alone : bool
            Whether the caller's own process does them by default, with its threads, as it does on
            a GPU, and not one a core.
        """
        place, jobs = self.checkpoint.device, self.jobs
        if jobs is None and (alone or place.type != "cpu"):
            jobs = 1
        if jobs == 1:
            return Farm(partial(make, self.checkpoint, wanted), 1)
        device = self.device if isinstance(jobs, str) else place.type
        folder, system = self.checkpoint.folder.resolve(), self.checkpoint.bound_to
        made = partial(_in_process, make, folder, system, device, wanted)
        return Farm(made, jobs, tasks, _gpus(place))

    def pieces(
        self,
        make: Callable[[Checkpoint, Any], Any],
        wanted: Any,
        tasks: Mapping[int, tuple],
        names: Mapping[int, Path | None],
        title: str,
        progress: bool,
    ) -> dict[int, Arrays]:
        """Return what ``make(checkpoint, wanted).piece`` returns of every task, kept in files.

        Parameters
        ----------
        make, wanted
            See `farm`.
        tasks : mapping
            Arguments by number.
        names : mapping
            Files in which pieces are kept, and from which finished ones are taken; None for no
            file.
        title : str
            Of the progress bar.
        progress : bool
        """
        found = {k: kept for k in tasks if (kept := kept_arrays(names[k])) is not None}
        todo = {k: task for k, task in tasks.items() if k not in found}
        with self.farm(make, wanted, len(todo)) as farm:
            for k, piece in track(farm.each("piece", todo), title, progress, len(todo)):
                if (name := names[k]) is not None:
                    write_arrays(name, **piece)
                found[k] = piece
        return found


def open_workplace(
    checkpoint: str | Path | Checkpoint, device: str | None = None, jobs: Jobs = None
) -> Workplace:
    """Open a checkpoint for work of which a farm does the most.

    Parameters
    ----------
    checkpoint, device
        See `molflow.training.checkpoint.open_checkpoint`. With a cluster the device is that of its
        workers; this process has the checkpoint on its processor.
    jobs : int or str, optional
        See `molflow.farm.Farm`.
    """
    if not isinstance(jobs, str):
        opened = open_checkpoint(checkpoint, device)
        return Workplace(opened, str(opened.device), jobs)
    place = device
    if place is None:
        place = checkpoint.device.type if isinstance(checkpoint, Checkpoint) else "auto"
    return Workplace(open_checkpoint(checkpoint, "cpu"), place, jobs)


def _gpus(place: torch.device) -> tuple[str, ...]:
    """Return the GPUs that may be used, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    if place.type != "cuda":
        return ()
    names = visible_gpus(torch.cuda.device_count())
    return names if place.index is None else (names[place.index],)


def _in_process(
    make: Callable[[Checkpoint, Any], Any], folder: Path, system: MolecularSystem | None,
    device: str, wanted: Any,
) -> Any:  # fmt: skip
    torch.set_num_threads(1)
    return make(open_checkpoint(folder, device, system), wanted)
