"""Precision of the matrix products inside a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from molflow.errors import MolflowError

#: By the names of torch's dtypes.
PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> None:
    """Raise a MolflowError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise MolflowError(f"precision is {precision!r}: choose {' or '.join(PRECISIONS)}.")


def products_in(precision: str, x: Tensor) -> AbstractContextManager:
    """Let matrix products on the device of x be computed in a precision meanwhile.

    bfloat16 has the range of float32 and three significant digits. Sums, and what is added up from
    layer to layer, stay what they are; so does everything where the precision is float32.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(x.device.type, dtype=torch.bfloat16)
