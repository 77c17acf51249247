"""What an atom does with the scalars and vectors that it has gathered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.nn.vectors import cross, mix


class AtomUpdate(nn.Module):
    """A layer that ends with an update of each atom by itself; `forward` is the layer's own.

    Scalars learn the inner products and sizes of vectors; vectors are mixed, multiplied by scalars
    and by each other. Their cross product is where the layer takes a hand.
    """

    def make_update(self, scalars: int, vectors: int) -> None:
        """Make the parameters of `update_atoms`."""
        self.norm2 = nn.LayerNorm(scalars, elementwise_affine=False)
        self.left = nn.Parameter(torch.randn(vectors, vectors) / vectors**0.5)
        self.right = nn.Parameter(torch.randn(vectors, vectors) / vectors**0.5)
        self.mlp = nn.Sequential(
            nn.Linear(scalars + 2 * vectors, 2 * scalars),
            nn.SiLU(),
            nn.Linear(2 * scalars, scalars + 3 * vectors),
        )
        self.update = nn.Parameter(torch.randn(3 * vectors, vectors) * 0.3 / vectors**0.5)

    def update_atoms(
        self, scalars: Tensor, vectors: Tensor, scale: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return scalars and vectors after the update; scale and shift tell it of the step."""
        left, right = mix(vectors, self.left), mix(vectors, self.right)
        inner = (left * right).sum(-2)
        norm = torch.sqrt(left.square().sum(-2) + 1e-4)
        hidden = self.norm2(scalars) * (1.0 + scale) + shift
        out = self.mlp(torch.cat([hidden, inner / (1.0 + norm), norm], dim=-1))
        width = vectors.shape[-1]
        change, gates = out.split([scalars.shape[-1], 3 * width], dim=-1)
        # A bounded size keeps the product of two vectors from running away with depth.
        axial = cross(left, right) / (1.0 + norm.unsqueeze(-2))
        candidates = torch.cat([left, right, axial], dim=-1) * gates.unsqueeze(-2)
        return scalars + change, vectors + mix(candidates, self.update)
