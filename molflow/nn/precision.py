"""Precision of the matrix products inside a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.nn.network import EquivariantNetwork

#: By the names of torch's dtypes.
PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> None:
    """Raise a MolflowError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise MolflowError(f"precision is {precision!r}: choose {' or '.join(PRECISIONS)}.")


def set_products(network: nn.Module, precision: str) -> None:
    """Set the precision of a network's products, see `EquivariantNetwork.products`.

    Raises
    ------
    MolflowError
        If there is no such precision, or the network is of another make and has one of its own.
    """
    check_precision(precision)
    if not isinstance(network, EquivariantNetwork):
        raise MolflowError(
            f"precision is {precision!r}, and the map's network is no EquivariantNetwork, which "
            "alone can be told: leave it out."
        )
    network.products = precision


def products_in(precision: str, x: Tensor) -> AbstractContextManager:
    """Let matrix products on the device of x be computed in a precision meanwhile.

    bfloat16 has the range of float32 and rounds by up to 0.4 %. What follows from products inside
    a layer has their precision; what is carried from layer to layer keeps that of x.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(x.device.type, dtype=torch.bfloat16)


def exactly(x: Tensor) -> AbstractContextManager:
    """Let products on the device of x be computed in the precision of their factors meanwhile.

    For differences of large products, such as squared distances.
    """
    kind = x.device.type  # some, as meta, know no autocast
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
