"""How a network computes: in which precision, and as a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from molflow.flow_map.base import FlowMap

PRECISIONS = ("float32", "tf32", "bf16")


@contextmanager
def precision(name: str, *networks: nn.Module) -> Iterator[None]:
    """Have networks multiply matrices in a precision; what is around them stays in float32.

    With ``tf32`` all products of matrices, those around the networks too, round their factors to 10
    binary digits; with ``bf16`` those of the networks to 7, by autocast.
    """
    before = torch.get_float32_matmul_precision()
    if name == "bf16":
        for network in networks:
            network.forward = _rounded(network.forward)
    else:
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        if name == "bf16":
            for network in networks:
                del network.forward


def _rounded(forward):
    def rounded(x: Tensor, *others: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return forward(x, *others).to(x.dtype)

    return rounded


@contextmanager
def recorded(flow_map: FlowMap) -> Iterator[None]:
    """Have the network of a map, without gradients, replayed as a CUDA graph.

    That is one launch in place of hundreds.
    """
    network = flow_map.network
    flow_map.network = Recorded(network)
    try:
        yield
    finally:
        flow_map.network = network


class Recorded(nn.Module):
    """A network on a GPU whose kernels are recorded once for each shape of its input."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self._graphs = network, {}

    def forward(self, *given: Tensor) -> Tensor:
        """Return what the network would."""
        key = tuple(value.shape for value in given)
        if key not in self._graphs:
            self._graphs[key] = self._record(given)
        graph, places, out = self._graphs[key]
        for place, value in zip(places, given, strict=True):
            place.copy_(value)
        graph.replay()
        return out.clone()

    def _record(self, given: tuple[Tensor, ...]):
        places = [value.clone() for value in given]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is made once is made before
            for _ in range(2):
                self.network(*places)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = self.network(*places)
        return graph, places, out
