"""How many processes train together, and who has started them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from molflow.errors import MolflowError


@dataclass(frozen=True)
class Processes:
    """The processes of one training, each with batches of its own.

    Attributes
    ----------
    devices : int
        Processes a machine, one a device.
    nodes : int
        Machines.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self.devices * self.nodes > 1


def find_processes(devices: int | None, nodes: int | None, place: torch.device) -> Processes:
    """Return the processes that train together.

    Parameters
    ----------
    devices, nodes : int, optional
        Processes a machine, and machines. By default those that ``torchrun`` or SLURM's ``srun``
        has started, and one if neither has.
    place : torch.device
        Where a process computes.

    Raises
    ------
    MolflowError
        If there are fewer devices, other processes have been started, or nobody has started those
        of several machines.
    """
    for name, value in (("devices", devices), ("nodes", nodes)):
        if value is not None and value < 1:
            raise MolflowError(f"{name} is {value}: give the number of processes, 1 or more.")
    started = _started()
    if started is not None:
        starter, found = started
        for name, wanted, there in (
            ("devices", devices, found.devices),
            ("nodes", nodes, found.nodes),
        ):
            if wanted not in (None, there):
                raise MolflowError(
                    f"{name} is {wanted}, and {starter} has started {found.devices} processes on "
                    f"each of {found.nodes} machines: leave {name} out, or start as many."
                )
    else:
        found = Processes(devices or 1, nodes or 1)
        if found.nodes > 1:
            raise MolflowError(
                f"nodes is {nodes}, and this process was started alone: start the same command on "
                "every machine by torchrun --nnodes or srun, which say who belongs together."
            )
    _check_devices(found.devices, place)
    return found


def _check_devices(count: int, place: torch.device) -> None:
    if place.type == "cuda" and count > 1:
        if place.index is not None:
            raise MolflowError(
                f"device is '{place}', one GPU, and devices is {count}: say --device cuda."
            )
        if count > torch.cuda.device_count():
            raise MolflowError(
                f"devices is {count}, and torch sees {torch.cuda.device_count()} GPUs on this "
                "machine: give at most as many."
            )


def _started() -> tuple[str, Processes] | None:
    """Return who has started this process together with others, and how many they are."""
    seen = os.environ
    if "TORCHELASTIC_RUN_ID" in seen:
        local = int(seen["LOCAL_WORLD_SIZE"])
        return "torchrun", Processes(local, int(seen["WORLD_SIZE"]) // local)
    # A shell inside an allocation has these too, and was not started as a task by srun.
    if "SLURM_PROCID" in seen and seen.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        tasks, nodes = int(seen.get("SLURM_NTASKS", 1)), int(seen.get("SLURM_NNODES", 1))
        return "srun", Processes(tasks // nodes, nodes)
    return None


def first_process() -> bool:
    """Return whether this process is the one that writes, of those that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0
