"""A network that molflow is compared with: the graph transformer of published maps.

It takes a `MolecularGraph` and the arguments of `EquivariantNetwork.forward`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.nn.embedding import StepEmbedding
from molflow.nn.graph import MolecularGraph


class TransformerLayer(nn.Module):
    """Attention with edges in keys and values, then a feed-forward part, both with gated residuals.

    Parameters
    ----------
    lean : bool
        Whether the products with the edges are reordered, so that no array has pairs and all heads'
        channels. The same function of the same weights.
    """

    def __init__(self, width: int, heads: int, per_head: int, lean: bool):
        super().__init__()
        self.heads, self.per_head, self.lean = heads, per_head, lean
        inner = heads * per_head
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.edge = (nn.Linear(width, inner) for _ in range(4))
        self.out = nn.Linear(inner, width)
        self.gate, self.gate2 = (nn.Linear(3 * width, 1, bias=False) for _ in range(2))
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return updated nodes (batch, atoms, width); edges (batch, atoms, atoms, width)."""
        attend = self._lean if self.lean else self._plain
        nodes = _gated(self.gate, self.out(attend(self.norm(nodes), edges)), nodes)
        return _gated(self.gate2, self.feed(self.norm2(nodes)), nodes)

    def _heads(self, x: Tensor) -> Tensor:
        """Return (batch, heads, ..., per_head)."""
        return x.unflatten(-1, (self.heads, self.per_head)).movedim(-2, 1)

    def _plain(self, nodes: Tensor, edges: Tensor) -> Tensor:
        query, key, value = (self._heads(f(nodes)) for f in (self.query, self.key, self.value))
        edge = self._heads(self.edge(edges))
        key, value = key.unsqueeze(2) + edge, value.unsqueeze(2) + edge
        logits = torch.einsum("bhid,bhijd->bhij", query, key) * self.per_head**-0.5
        out = torch.einsum("bhij,bhijd->bhid", torch.softmax(logits, dim=-1), value)
        return out.transpose(1, 2).flatten(-2)

    def _lean(self, nodes: Tensor, edges: Tensor) -> Tensor:
        query, key, value = (self._heads(f(nodes)) for f in (self.query, self.key, self.value))
        weight = self.edge.weight.unflatten(0, (self.heads, self.per_head))
        bias = self.edge.bias.unflatten(0, (self.heads, self.per_head))
        asked = torch.einsum("bhid,hdc->bihc", query, weight)
        logits = query @ (key + bias.unsqueeze(1)).transpose(-1, -2)
        logits = logits + (asked @ edges.transpose(-1, -2)).transpose(1, 2)
        attention = torch.softmax(logits * self.per_head**-0.5, dim=-1)
        seen = attention.transpose(1, 2) @ edges
        out = attention @ (value + bias.unsqueeze(1))
        out = out + torch.einsum("bihc,hdc->bhid", seen, weight)
        return out.transpose(1, 2).flatten(-2)


def _gated(gate: nn.Linear, x: Tensor, residual: Tensor) -> Tensor:
    share = torch.sigmoid(gate(torch.cat([x, residual, x - residual], dim=-1)))
    return x * share + residual * (1.0 - share)


class GraphTransformer(nn.Module):
    """The graph transformer of published maps: not equivariant, its decoder tied to the atoms.

    96 hidden channels, 3 layers, 8 heads of 64, differences of positions as edges, as in Arts et
    al. 2023 (doi:10.1021/acs.jctc.3c00702); the decoder reads all atoms together. Its hidden width
    is chosen so that 22 atoms give the published 1.65 million parameters. Larger molecules, to
    which such a decoder does not carry over, get one that reads each atom.
    """

    def __init__(self, graph: MolecularGraph, inputs: int, duration: float, lean: bool = False):
        super().__init__()
        n, width = graph.n_atoms, 96
        self.step = StepEmbedding(duration, 64)
        self.node = nn.Linear(n + 3 * (1 + inputs) + 64, width)
        self.edge = nn.Linear(3, width)
        self.layers = nn.ModuleList(TransformerLayer(width, 8, 64, lean) for _ in range(3))
        self.together = n <= 22
        ends = (n * width, n * 3) if self.together else (width, 3)
        self.hidden, self.last = nn.Linear(ends[0], 303), nn.Linear(303, ends[1])
        self.register_buffer("identity", torch.eye(n), persistent=False)

    def forward(self, positions: Tensor, noise: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """Return (batch, atoms, 3)."""
        b, n, _ = positions.shape
        parts = [
            self.identity.expand(b, n, n),
            positions,
            noise.flatten(2),
            self.step(s, t).unsqueeze(1).expand(b, n, -1),
        ]
        nodes = self.node(torch.cat(parts, dim=-1))
        edges = self.edge(positions.unsqueeze(1) - positions.unsqueeze(2))
        for layer in self.layers:
            nodes = layer(nodes, edges)
        nodes = nodes.flatten(1) if self.together else nodes
        return self.last(nn.functional.gelu(self.hidden(nodes))).reshape(b, n, 3)
