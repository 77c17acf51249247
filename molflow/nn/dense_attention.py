"""Dense equivariant attention for small fixed molecules.

All pairs of atoms interact through matrix products over heads; no tensor has a pair index and a
channel index at once, except one narrow set of pair features made at the entrance.

Scalars are (batch, atoms, channels), vectors (batch, atoms, 3, channels). Every operation on
vectors is a linear mix of channels, a product with a scalar, a sum over atoms or a cross product:
all commute with rotations. The cross product does not commute with reflections (it treats an
axial vector as a polar one), which is what lets the network know left from right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from molflow.nn.atom_update import AtomUpdate
from molflow.nn.dihedral_features import DihedralFeatures
from molflow.nn.embedding import StepEmbedding
from molflow.nn.graph import MolecularGraph
from molflow.nn.network import EquivariantNetwork
from molflow.nn.pair_features import PairFeatures, PairMessages
from molflow.nn.precision import exactly, products_in
from molflow.nn.vectors import mix
from molflow.section import Section


class AttentionLayer(AtomUpdate):
    """One round of messages over all pairs, then one update of each atom."""

    def __init__(self, scalars: int, vectors: int, heads: int, pair_width: int, step_width: int):
        super().__init__()
        self.heads, self.points = heads, 4
        self.norm = nn.LayerNorm(scalars, elementwise_affine=False)
        self.step = nn.Linear(step_width, 4 * scalars + vectors)
        self.qkv = nn.Linear(scalars, 3 * scalars)
        self.pair = nn.Linear(pair_width + PairMessages.GIVEN, 2 * heads)
        self.to_points = nn.Parameter(torch.randn(vectors, heads * self.points) / vectors**0.5)
        self.point_scale = nn.Parameter(torch.full((heads,), -2.0))
        self.to_values = nn.Parameter(torch.randn(vectors, 2 * vectors) / vectors**0.5)
        self.gathered = nn.Parameter(torch.randn(2 * vectors, vectors) * 0.5 / vectors**0.5)
        self.scalar_out = nn.Linear(scalars, scalars)
        self.make_update(scalars, vectors)

    def forward(
        self, scalars: Tensor, vectors: Tensor, pair: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return updated scalars and vectors."""
        b, n, c = scalars.shape
        width = vectors.shape[-1]
        step = self.step(step).unsqueeze(1)
        scale1, shift1, scale2, shift2, vector_scale = step.split([c, c, c, c, width], dim=-1)
        hidden = self.norm(scalars) * (1.0 + scale1) + shift1
        query, key, value = (
            part.reshape(b, n, self.heads, -1).transpose(1, 2)
            for part in self.qkv(hidden).chunk(3, -1)
        )
        bias, gate = self.pair(pair).permute(0, 3, 1, 2).chunk(2, dim=1)

        with exactly(vectors):
            # Whoever runs the whole network by autocast hands over rounded vectors.
            exact = vectors.to(self.to_points.dtype)
            points = mix(exact, self.to_points).reshape(b, n, 3, self.heads, self.points)
            points = points.permute(0, 3, 1, 2, 4).reshape(b, self.heads, n, 3 * self.points)
            squares = points.square().sum(-1)
            cross = points @ points.transpose(-1, -2)
            spread = squares.unsqueeze(-1) + squares.unsqueeze(-2) - 2.0 * cross
        closeness = nn.functional.softplus(self.point_scale).reshape(1, -1, 1, 1) * spread
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias - closeness
        # An explicit softmax: fused attention has no forward-mode derivative.
        attention = torch.softmax(logits, dim=-1)

        message = (attention @ value).transpose(1, 2).reshape(b, n, c)
        scalars = scalars + self.scalar_out(message)

        values = mix(vectors * (1.0 + vector_scale.unsqueeze(2)), self.to_values)
        attended, sheared = (
            part.reshape(b, n, 3, self.heads, -1)
            .permute(0, 3, 1, 2, 4)
            .reshape(b, self.heads, n, -1)
            for part in values.chunk(2, dim=-1)
        )
        attended = attention @ attended
        # Sum of gate_ij (u_j - u_i): differences only, like forces between pairs.
        sheared = (gate @ sheared - gate.sum(-1, keepdim=True) * sheared) / n**0.5
        arrived = torch.cat(
            [
                part.reshape(b, self.heads, n, 3, -1).permute(0, 2, 3, 1, 4).reshape(b, n, 3, width)
                for part in (attended, sheared)
            ],
            dim=-1,
        )
        vectors = vectors + mix(arrived, self.gathered)
        return self.update_atoms(scalars, vectors, scale2, shift2)


class AttentionConfig(Section):
    """Sizes of networks of these layers."""

    kind: str
    scalars: int = Field(96, gt=0, description="scalar channels per atom")
    vectors: int = Field(48, gt=0, description="vector channels per atom")
    heads: int = Field(8, gt=0, description="attention heads; divides scalars and vectors")
    layers: int = Field(4, gt=0)
    pair_width: int = Field(32, gt=0, description="features per pair of atoms")

    @model_validator(mode="after")
    def _divisible(self):
        if self.scalars % self.heads or self.vectors % self.heads:
            raise ValueError("heads must divide scalars and vectors")
        return self


class DenseConfig(AttentionConfig):
    """Dense equivariant attention over all pairs of atoms, for small molecules."""

    kind: Literal["dense"] = "dense"


class AttentionNetwork(EquivariantNetwork):
    """The way through these layers, in whatever way a network knows its atoms."""

    step: StepEmbedding

    def make_entrance(self, inputs: int, vectors: int) -> None:
        """Make the parameters by which positions and Brownian vectors come in."""
        self.first = nn.Parameter(torch.randn(1 + inputs, vectors) / (1 + inputs) ** 0.5)
        self.first_step = nn.Linear(64, (1 + inputs) + vectors)

    def make_layers(
        self, scalars: int, vectors: int, heads: int, layers: int, pair_width: int, outputs: int
    ) -> None:
        """Make the layers and the parameters by which vectors go out."""
        self.blocks = nn.ModuleList(
            AttentionLayer(scalars, vectors, heads, pair_width, 64) for _ in range(layers)
        )
        self.last_step = nn.Linear(64, vectors)
        self.last_gate = nn.Linear(scalars, vectors)
        self.last = nn.Parameter(torch.zeros(vectors, outputs))

    def through(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None,
        atoms: Tensor,
        pairs: Callable[[Tensor, Tensor, Tensor], Tensor],
        dihedrals: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom, see `EquivariantNetwork`.

        Parameters
        ----------
        atoms : Tensor, (atoms, scalars)
            Who they are.
        pairs : callable
            Of all vectors that come in, the step and its start: features of all pairs.
        dihedrals : callable
            Of positions and the step: what atoms learn from dihedral angles.
        """
        step = self.step(s, t, setting)
        inputs = torch.cat([positions.unsqueeze(-1), noise], dim=-1)
        k = inputs.shape[-1]
        scale_in, scale_out = (
            self.first_step(step).unsqueeze(1).unsqueeze(1).split([k, self.first.shape[1]], dim=-1)
        )
        pair = pairs(inputs, step, s)
        vectors = mix(inputs * (1.0 + scale_in), self.first) * (1.0 + scale_out)
        turned, normals = dihedrals(positions, step)
        scalars, vectors = atoms + turned, vectors + normals
        with products_in(self.products, positions):
            for block in self.blocks:
                scalars, vectors = block(scalars, vectors, pair, step)
        gate = self.last_gate(scalars) * (1.0 + self.last_step(step).unsqueeze(1))
        return mix(vectors * gate.unsqueeze(2), self.last).squeeze(-1), scalars


class DenseAttention(AttentionNetwork):
    """SE(3)-equivariant network for one molecule: positions, increments and times -> vectors.

    Parameters
    ----------
    graph : MolecularGraph
        The molecule; its atoms have identities of their own.
    inputs : int
        Brownian vectors per atom.
    duration : float
        Length of the clock on which the two times live.
    scalars, vectors, heads, layers, pair_width : int
        Sizes; `heads` divides `scalars` and `vectors`.
    sigma_max : float
        Width of the noise on the positions at time 0 in units of the data; see `PairFeatures`,
        whose statistics of distances should be set before training.
    outputs : int
        Vectors returned for each atom.
    setting : bool
        Whether steps have a number from 0 to 1 besides, see `StepEmbedding`.
    """

    configuration = DenseConfig
    atom_tables: ClassVar = {
        "identity": 0, "pairs.sender": 0, "pairs.receiver": 0, "dihedrals.identity": 1,
    }  # fmt: skip
    elements: Tensor

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        scalars: int = 64,
        vectors: int = 32,
        heads: int = 8,
        layers: int = 4,
        pair_width: int = 32,
        sigma_max: float = 10.0,
        outputs: int = 1,
        setting: bool = False,
    ):
        super().__init__()
        n = graph.n_atoms
        self.step = StepEmbedding(duration, 64, setting=setting)
        self.identity = nn.Parameter(torch.randn(n, scalars))
        self.element = nn.Embedding(120, scalars)
        self.register_buffer("elements", torch.tensor(graph.elements), persistent=False)
        self.make_entrance(inputs, vectors)
        self.pairs = PairFeatures(graph, 1 + inputs, pair_width, 64, sigma_max)
        self.dihedrals = DihedralFeatures(graph, pair_width, 64, scalars, vectors)
        self.make_layers(scalars, vectors, heads, layers, pair_width, outputs)

    def measured_pairs(self) -> Tensor:
        """Return all pairs, an atom with itself too."""
        n = len(self.elements)
        return torch.cartesian_prod(torch.arange(n), torch.arange(n))

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Set mean and standard deviation of the distances of all pairs in the data."""
        n = len(self.elements)
        self.pairs.set_statistics(mean.reshape(n, n), sd.reshape(n, n))

    def vectors_and_scalars(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom, see `EquivariantNetwork`."""
        atoms = self.identity + self.element(self.elements)
        return self.through(positions, noise, s, t, setting, atoms, self.pairs, self.dihedrals)
