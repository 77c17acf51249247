"""Where torch computes: devices by name, and copies that nobody waits for."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.errors import MolflowError


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str or torch.device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: a GPU if torch sees one, else the
        processor.

    Raises
    ------
    MolflowError
        If it is not one that torch can use here, or has no double precision.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.device_count() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise MolflowError(f"device is '{name}': choose auto, cpu, cuda or cuda:N.") from error
    if device.type == "mps":
        raise MolflowError(
            f"device is '{name}', which has no double precision, and the equations are solved in "
            "it: choose cpu."
        )
    if device.type not in ("cpu", "cuda"):
        raise MolflowError(f"device is '{name}': choose auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MolflowError(
            f"device is '{name}', and torch sees {torch.cuda.device_count()} GPUs on this machine: "
            "choose cpu, or a GPU that is there."
        )
    return device


def upload(value: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor of the processor on a device, without waiting for what that is doing.

    From ordinary memory a copy would first wait until the device has done all it was told, so it
    goes through pinned memory.
    """
    device = torch.device(device)
    if value.device == device:
        return value
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


_KEPT: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}


def kept_on(device: torch.device, table: Tensor) -> Tensor:
    """Return a table that never changes on a device, where it stays once it is there."""
    if table.device == device:
        return table
    key = id(table), device
    if key not in _KEPT:
        # With the table itself, so that no other takes its number.
        _KEPT[key] = table, table.to(device)
    return _KEPT[key][1]


def like(value: Tensor, x: Tensor) -> Tensor:
    """Return `value` in the dtype and on the device of x, without waiting for the device."""
    return upload(value.to(x.dtype), x.device)
