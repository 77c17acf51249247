"""Linear maps of irreducible representations: a mix of channels for each degree."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn


class DegreeLinear(nn.Module):
    """Mix the channels of each degree, with a bias for scalars.

    What `e3nn.o3.Linear` with biases computes. There weights are of unit size and divided by the
    root of the number of channels afterwards, so that the steps of Adam, of one size for all
    parameters, change such a map less by that root than any other layer of a network.

    Parameters
    ----------
    before, after : Irreps
        The same degrees in the same order, each once.
    """

    def __init__(self, before: Irreps, after: Irreps):
        super().__init__()
        # Plain numbers: the compiler cannot look into e3nn's irreps.
        self.sizes = [(mul, ir.dim) for mul, ir in before]
        self.weights = nn.ParameterList(
            torch.randn(left, right) / left**0.5
            for (left, _), (right, _) in zip(before, after, strict=True)
        )
        self.bias = nn.Parameter(torch.zeros(after.count("0e")))

    def forward(self, state: Tensor) -> Tensor:
        """Return the mixed state, (..., before.dim) -> (..., after.dim)."""
        parts = state.split([mul * dim for mul, dim in self.sizes], dim=-1)
        rows = zip(parts, self.sizes, self.weights, strict=True)
        scalars, *others = (
            (part.unflatten(-1, size).mT @ weight).mT.flatten(-2) for part, size, weight in rows
        )
        return torch.cat([scalars + self.bias, *others], dim=-1)
