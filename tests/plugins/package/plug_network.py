"""A network: each atom mixes its own position and noise, by weights of its own."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from molflow.nn.graph import MolecularGraph
from molflow.nn.network import EquivariantNetwork
from molflow.section import Section


class PlugConfig(Section):
    """Atoms that know nothing of each other."""

    kind: Literal["plug"] = "plug"
    width: int = Field(4, gt=0, description="vector channels per atom")


class PlugNetwork(EquivariantNetwork):
    """Linear in the vectors, so that they turn with them."""

    configuration = PlugConfig

    def __init__(
        self, graph: MolecularGraph, inputs: int, duration: float, sigma_max: float = 10.0,
        outputs: int = 1, width: int = 4,
    ):  # fmt: skip
        super().__init__()
        self.first = nn.Parameter(torch.randn(1 + inputs, width))
        self.atoms = nn.Parameter(torch.randn(graph.n_atoms, width))
        self.last = nn.Parameter(torch.zeros(width, outputs))

    def vectors_and_scalars(
        self, positions: Tensor, noise: Tensor, s: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        vectors = torch.cat([positions.unsqueeze(-1), noise], dim=-1) @ self.first
        gate = self.atoms * torch.exp(-(t - s))[:, None, None]
        return ((vectors * gate.unsqueeze(2)) @ self.last).squeeze(-1), gate

    def measured_pairs(self) -> Tensor:
        return torch.zeros(0, 2, dtype=torch.long)

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """There are none."""
