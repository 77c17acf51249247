"""A device without numbers: what has to be read from it, or waited for, is written down."""

from __future__ import annotations

import traceback
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import molflow

DEVICE = torch.device("meta")
PACKAGE = str(Path(molflow.__file__).parent)
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
#: Operators that take indices or single numbers from the processor.
_MIXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}


class Trips(TorchDispatchMode):
    """Counts, by line of molflow, what a device would make the processor wait for.

    ``read`` are numbers and arrays read from the device; ``blocking`` are copies to it that wait
    until it has done all before; ``sent`` are those that do not. An operator that is given arrays
    of both sides fails.
    """

    def __init__(self):
        super().__init__()
        self.read, self.blocking, self.sent = Counter(), Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = _tensors((*args, *kwargs.values()))
        there = [tensor for tensor in tensors if tensor.device == DEVICE]
        here = [tensor for tensor in tensors if tensor.device != DEVICE and tensor.ndim]
        if func is torch.ops.aten._local_scalar_dense.default and there:
            self.read[_line()] += 1
            return {torch.bool: True, torch.long: 1}.get(there[0].dtype, 1.0)
        if func is torch.ops.aten.index.Tensor and _masked(args[1]):
            self.read[_line()] += 1
            return args[0].new_zeros(1, *args[0].shape[1:])
        if func in _COPIES:
            target = torch.device(kwargs["device"]) if kwargs.get("device") else None
            if func is torch.ops.aten.copy_.default:
                target = args[0].device
                tensors = tensors[1:2]
            if there and target is not None and target.type == "cpu":
                if tensors[0].device == DEVICE:
                    self.read[_line()] += 1
                    dtype = kwargs.get("dtype") or tensors[0].dtype
                    return torch.zeros(tensors[0].shape, dtype=dtype)
            if target == DEVICE and tensors[0].device != DEVICE:
                waits = not kwargs.get("non_blocking", False)
                (self.blocking if waits else self.sent)[_line()] += 1
        elif there and here:
            if func not in _MIXED:
                raise AssertionError(f"{func} is given arrays of both sides at {_line()}")
            self.blocking[_line()] += 1
        return func(*args, **kwargs)


def _tensors(values) -> list[torch.Tensor]:
    """Return the tensors among values and in the lists among them."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


def _masked(indices: list) -> bool:
    first = indices[0]
    return first is not None and first.dtype == torch.bool and first.device == DEVICE


def _line() -> str:
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(PACKAGE) and not frame.filename.endswith("devices.py"):
            return f"{frame.filename[len(PACKAGE) + 1 :]}:{frame.lineno}"
    return "elsewhere"


@contextmanager
def counted():
    """Yield the `Trips` of a block."""
    with Trips() as trips:
        yield trips
