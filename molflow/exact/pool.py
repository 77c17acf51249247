"""Pieces of work on a checkpoint, in processes and in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.farm import Farm
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import Checkpoint, open_checkpoint
from molflow.workers import number_of_jobs

#: What a worker's `piece` returns.
Arrays = dict[str, np.ndarray]


def pieces_of(
    make: Callable[..., Any], checkpoint: Checkpoint, wanted: Any, todo: dict[int, tuple],
    jobs: int | None,
) -> Iterator[tuple[int, Arrays]]:  # fmt: skip
    """Yield what a worker makes of every task, in the order in which they are done.

    Parameters
    ----------
    make : class
        ``make(checkpoint, wanted).piece(*task)`` returns arrays.
    checkpoint : Checkpoint
    wanted
        What is asked of all; can be pickled.
    todo : dict of int to tuple
        Arguments of `piece` by number.
    jobs : int or None
        Processes; by default one a core. On a GPU there is one.
    """
    if not todo:
        return
    on_cpu = next(checkpoint.flow_map.parameters()).device.type == "cpu"
    jobs = number_of_jobs(jobs if on_cpu else 1, len(todo))
    made: Callable[[], Any] = partial(
        _in_process, make, checkpoint.folder, checkpoint.bound_to, wanted
    )
    if jobs == 1:
        made = partial(make, checkpoint, wanted)  # the checkpoint that is here
    with Farm(made, jobs) as farm:
        yield from farm.each("piece", todo)


def _in_process(
    make: Callable[..., Any], folder: Path, system: MolecularSystem | None, wanted: Any
) -> Any:
    torch.set_num_threads(1)
    return make(open_checkpoint(folder, "cpu", system), wanted)
