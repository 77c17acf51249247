"""Where a network calculates in bfloat16, and where it never does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from molflow.errors import MolflowError

#: Of a network's matrix products, by the names of torch's dtypes.
PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> None:
    """Raise a MolflowError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise MolflowError(f"precision is {precision!r}: choose {' or '.join(PRECISIONS)}.")


def products_in(precision: str, device: torch.device) -> AbstractContextManager:
    """Let matrix products be computed in a precision meanwhile; sums and states stay as they are.

    bfloat16 has the range of float32 and three significant digits: enough for what atoms tell each
    other, not for where they are, see `exactly`.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def exactly(x: Tensor) -> AbstractContextManager:
    """Let products be computed in the precision of their factors meanwhile, on the device of x.

    A distance is a small difference of large products, and the vectors that leave a network are
    places of atoms: with three digits bonds would be a tenth too wide.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
