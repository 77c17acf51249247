"""Batches on their way to a device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.devices import upload


def moved(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors and increments on a device, in the containers they are in.

    Nobody waits for the copies; what is neither stays as it is.
    """
    if isinstance(batch, Tensor):
        return upload(batch, device)
    if isinstance(batch, Increment):
        return batch.on(device)
    if isinstance(batch, dict):
        return {name: moved(value, device) for name, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(moved(value, device) for value in batch)
    return batch
