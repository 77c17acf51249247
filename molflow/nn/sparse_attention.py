"""Sparse equivariant attention, for batches of different molecules and thousands of atoms.

Scalars are (N, channels), vectors (N, 3, channels), as in the dense network, and the cross product
tells left from right here too. Messages run along edges only.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch_geometric.utils import scatter

from molflow.nn.atom_update import AtomUpdate
from molflow.nn.edges import EdgeFeatures, Edges
from molflow.nn.graph import MolecularGraph
from molflow.nn.graph_network import GraphNetwork
from molflow.nn.vectors import mix
from molflow.section import Section


class SparseLayer(AtomUpdate):
    """One round of messages along the edges, then one update of each atom.

    A receiver takes scalars and vectors of its neighbours by attention, differences of vectors by
    gates, and the directions to its neighbours.
    """

    def __init__(self, scalars: int, vectors: int, heads: int, edge_width: int, step_width: int):
        super().__init__()
        self.heads, self.carried = heads, max(1, vectors // (2 * heads)) * heads
        self.norm = nn.LayerNorm(scalars, elementwise_affine=False)
        self.step = nn.Linear(step_width, 4 * scalars + vectors)
        self.qkv = nn.Linear(scalars, 3 * scalars)
        self.edge = nn.Linear(edge_width + EdgeFeatures.GIVEN, 4 * heads)
        self.to_values = nn.Parameter(torch.randn(vectors, 2 * self.carried) / vectors**0.5)
        arriving = 2 * self.carried + 2 * heads
        self.gathered = nn.Parameter(torch.randn(arriving, vectors) * 0.5 / vectors**0.5)
        self.scalar_out = nn.Linear(scalars, scalars)
        self.make_update(scalars, vectors)

    def forward(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, step: Tensor, molecule: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return updated scalars and vectors."""
        n, c = scalars.shape
        step = self.step(step).index_select(0, molecule)
        scale1, shift1, scale2, shift2, vector_scale = step.split(
            [c, c, c, c, vectors.shape[-1]], dim=-1
        )
        hidden = self.norm(scalars) * (1.0 + scale1) + shift1
        query, key, value = self.qkv(hidden).chunk(3, dim=-1)
        values = mix(vectors * (1.0 + vector_scale.unsqueeze(1)), self.to_values)
        sent = torch.cat([key, value, values.flatten(1)], dim=-1).index_select(0, edges.sender)
        key, value, carried = sent.split([c, c, values[0].numel()], dim=-1)

        bias, gate, pull = self.edge(edges.features).split(
            [self.heads, self.heads, 2 * self.heads], -1
        )
        products = query.index_select(0, edges.receiver) * key
        logits = (
            products.reshape(-1, self.heads, c // self.heads).sum(-1) * (c / self.heads) ** -0.5
        )
        # Bounded logits need no largest one to be subtracted, and the weights of edges fade in.
        weight = edges.weight.unsqueeze(-1)
        attention = weight * torch.exp(8.0 * torch.tanh((logits + bias) / 8.0))
        gate = weight * gate

        def per_head(coefficients: Tensor, width: int) -> Tensor:
            return coefficients.repeat_interleave(width // self.heads, dim=-1)

        coefficients = torch.cat(
            [per_head(attention, self.carried), per_head(gate, self.carried)], dim=-1
        )
        carried = coefficients.unsqueeze(1) * carried.reshape(-1, 3, 2 * self.carried)
        pulled = (weight * pull).unsqueeze(1) * edges.direction.unsqueeze(-1)
        parts = [per_head(attention, c) * value, carried.flatten(1), pulled.flatten(1)]
        arrived = scatter(
            torch.cat([*parts, attention, gate, weight], dim=-1), edges.receiver, dim_size=n
        )
        message, carried, pulled, total, gates, degree = arrived.split(
            [c, 6 * self.carried, 6 * self.heads, self.heads, self.heads, 1], dim=-1
        )
        total, gates = total + 1e-6, per_head(gates, self.carried).unsqueeze(1)
        scalars = scalars + self.scalar_out(message / per_head(total, c))
        attended, sheared = carried.reshape(n, 3, -1).chunk(2, dim=-1)
        # Sum of gate_ij (u_j - u_i): differences only, like forces between pairs.
        sheared = sheared - gates * values[..., self.carried :]
        usual = torch.rsqrt(1.0 + degree).unsqueeze(1)
        gathered = torch.cat(
            [
                attended / per_head(total, self.carried).unsqueeze(1),
                sheared * usual,
                pulled.reshape(n, 3, -1) * usual,
            ],
            dim=-1,
        )
        vectors = vectors + mix(gathered, self.gathered)
        return self.update_atoms(scalars, vectors, scale2, shift2)


class SparseConfig(Section):
    """Equivariant attention among neighbours, for molecules of any size."""

    kind: Literal["sparse"] = "sparse"
    scalars: int = Field(96, gt=0, description="scalar channels per atom")
    vectors: int = Field(48, gt=0, description="vector channels per atom")
    heads: int = Field(8, gt=0, description="attention heads; divides scalars")
    layers: int = Field(4, gt=0)
    edge_width: int = Field(32, gt=0, description="features per edge")
    neighbours: int = Field(
        32, gt=0, description="neighbours looked for; a molecule with no more has all its pairs"
    )
    recompute: bool = Field(
        False,
        description="compute layers again in the backward pass: less memory, a third more time; a "
        "training does so by itself where the memory would not do otherwise",
    )

    @model_validator(mode="after")
    def _divisible(self):
        if self.scalars % self.heads:
            raise ValueError("heads must divide scalars")
        return self


class SparseAttention(GraphNetwork):
    """SE(3)-equivariant attention among neighbours; parameters as of `GraphNetwork`.

    Parameters
    ----------
    heads, layers : int
        `heads` divides `scalars`.
    recompute : bool
        Whether layers are computed again in the backward pass in place of being kept: less memory,
        a third more time. Not with `torch.func.jvp`, which knows no such thing.
    """

    configuration = SparseConfig

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        scalars: int = 96,
        vectors: int = 48,
        heads: int = 8,
        layers: int = 4,
        edge_width: int = 32,
        neighbours: int = 32,
        recompute: bool = False,
        sigma_max: float = 10.0,
        outputs: int = 1,
        setting: bool = False,
    ):
        super().__init__(
            graph, inputs, duration, scalars, vectors, edge_width, neighbours, sigma_max, outputs,
            setting,
        )
        self.recompute = recompute
        self.blocks = nn.ModuleList(
            SparseLayer(scalars, vectors, heads, edge_width, self.STEP) for _ in range(layers)
        )

    def interact(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, step: Tensor, molecule: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Pass through the layers."""
        for block in self.blocks:
            scalars, vectors = self.pass_through(block, scalars, vectors, edges, step, molecule)
        return scalars, vectors
