"""What a training step keeps for its backward pass, and what is done where that is too much."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from molflow.flow_map.base import FlowMap
from molflow.nn.network import layers_to_recompute
from molflow.training.fit import Epoch
from molflow.training.free_memory import free_memory
from molflow.training.kinds import Ingredients
from molflow.training.transfer import moved

_log = logging.getLogger(__name__)

#: Memory of a step for each byte that layers keep, the rest of the network and the backward pass
#: included: measured were 1.7 with 400 atoms in a batch and 1.4 with 4,000.
NEEDED = 1.7


def recompute_where_needed(
    flow_map: FlowMap, ingredients: Ingredients, first: int, device: torch.device, sharing: int = 1
) -> None:
    """Have layers computed again in the backward pass where the memory would not hold them.

    Only of networks that can (``recompute``), and only where nothing is differentiated by inputs,
    which `torch.func` cannot do then.

    Parameters
    ----------
    flow_map : FlowMap
        Goes to the device.
    ingredients : Ingredients
    first : int
        A step that is as large as any.
    device : torch.device
    sharing : int
        Processes that share the memory.
    """
    network: Any = flow_map.network
    by_inputs = ingredients.derivatives or ingredients.second_derivatives
    if layers_to_recompute(network) is None or by_inputs:
        return
    free = free_bytes(device)
    if free is None:
        return
    batch = next(iter(ingredients.batches(Epoch(0, first, 1))))
    given, kept_there = moved(batch, device), {name: batch[name] for name in ingredients.on_host}
    given = {**given, **kept_there} if kept_there else given
    # States of an objective are not those of the training.
    objective = copy.deepcopy(ingredients.objective)
    flow_map.to(device)
    if isinstance(objective, nn.Module):
        objective.to(device)
    with counted(network) as kept:
        objective(flow_map, flow_map, given)
    needed = NEEDED * kept.bytes
    network.recompute = needed * sharing > free
    _log.info(
        "a training step needs about %.1f GB, and %.1f GB are free: layers are %s",
        needed / 1e9,
        free / sharing / 1e9,
        "computed again in the backward pass (network.recompute)"
        if network.recompute
        else "kept for the backward pass",
    )


def free_bytes(device: torch.device) -> int | None:
    """Return the memory of a device, or of this process, that nobody uses; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


class _Kept:
    """Bytes that layers would keep, counted layer by layer without keeping them."""

    def __init__(self) -> None:
        self.bytes = 0
        self._now: list[torch.Tensor] = []

    def pack(self, value: torch.Tensor) -> None:
        self._now.append(value)

    def unpack(self, packed: None) -> torch.Tensor:
        raise AssertionError("nothing was kept for a backward pass")

    def close(self, own: set[int]) -> None:
        """Count what the layer has kept, each storage once and none of its weights."""
        sizes = {
            value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
            for value in self._now
        }
        self.bytes += sum(size for place, size in sizes.items() if place not in own)
        self._now.clear()


@contextmanager
def counted(network: nn.Module) -> Iterator[_Kept]:
    """Count what the layers of a network would keep, in calls without a backward pass."""
    kept, handles, open_ = _Kept(), [], []
    layers: Any = network.blocks
    own = {value.untyped_storage().data_ptr() for value in network.parameters()}

    def before(layer, given) -> None:
        open_.append(torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack))
        open_[-1].__enter__()

    def after(layer, given, out) -> None:
        open_.pop().__exit__(None, None, None)
        kept.close(own)

    for layer in layers:
        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
