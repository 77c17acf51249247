"""What a dihedral angle tells two of its atoms, in whatever way a network keeps its molecules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from molflow.nn.vectors import mix


def dihedral_geometry(
    i: Tensor, j: Tensor, k: Tensor, other: Tensor, smoothing: float = 1e-3
) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos ω, sin ω, ..., sin 3ω of dihedral angles, (..., 6), and the two normals, (..., 3).

    The angle is in the sense opposite to IUPAC's. The normals are of unit length, shorter where
    three atoms are nearly on a line, so that derivatives are finite where atoms coincide.

    Parameters
    ----------
    i, j, k, other : Tensor, (..., 3)
        Positions of about unit size; the planes i, j, k and j, k, other meet in the bond j-k.
    smoothing : float
        Square of the area (of a parallelogram) below which normals are shorter. Bonds far shorter
        than a tenth make the sines smaller too.
    """
    axis = j - k
    first = torch.linalg.cross(i - j, axis)
    second = torch.linalg.cross(axis, k - other)
    first = first * torch.rsqrt(first.square().sum(-1, keepdim=True) + smoothing)
    second = second * torch.rsqrt(second.square().sum(-1, keepdim=True) + smoothing)
    axis = axis * torch.rsqrt(axis.square().sum(-1, keepdim=True) + 1e-3)
    c1 = (first * second).sum(-1)
    s1 = (torch.linalg.cross(first, second) * axis).sum(-1)
    c2, s2 = c1 * c1 - s1 * s1, 2.0 * c1 * s1
    c3, s3 = c1 * c2 - s1 * s2, s1 * c2 + c1 * s2
    return torch.stack([c1, s1, c2, s2, c3, s3], dim=-1), first, second


class DihedralMessages(nn.Module, ABC):
    """What atoms learn at the entrance from the dihedral angles that they are part of.

    Distances between pairs say little of the rotation about a bond, and nothing of its sense. So
    each dihedral (i, j, k, l) of the bond graph, see `MolecularGraph.dihedrals`, gives atoms i and
    j its angle ω, as cos mω and sin mω for m = 1 to 3, and the normals of its two planes, along
    which atoms move when the bond turns. All directions of a dihedral are there, so every atom of
    it is told.
    """

    #: Vectors per normal that a dihedral sends to an atom.
    CHANNELS = 8
    #: What an atom takes of the sum of its messages.
    SHARE = 1.0 / 3.0

    @abstractmethod
    def forward(self, *arguments) -> tuple[Tensor, Tensor]:
        """Return what to add to the scalars (..., channels) and vectors (..., 3, channels)."""

    def make_messages(self, width: int, step_width: int, scalars: int, vectors: int) -> None:
        """Make the parameters of `messages`."""
        self.angle = nn.Linear(6, width)
        self.step = nn.Linear(step_width, 2 * width)
        self.hidden = nn.Linear(width, width)
        self.coefficients = nn.Linear(width, 3 * self.CHANNELS)
        self.to_scalars = nn.Linear(2 * width, scalars, bias=False)
        self.to_vectors = nn.Parameter(torch.randn(3 * self.CHANNELS, vectors) * 0.5)

    def messages(
        self,
        geometry: tuple[Tensor, Tensor, Tensor],
        identity: Tensor,
        step: Tensor,
        to_ends: Callable[[Tensor], Tensor],
        to_centres: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return what atoms learn, see `forward`.

        Parameters
        ----------
        geometry : tuple of Tensor
            Of the dihedrals, see `dihedral_geometry`.
        identity : Tensor, (..., dihedrals, width)
            Who the four atoms are.
        step : Tensor, (..., dihedrals or 1, 2 width)
            What `self.step` makes of the step.
        to_ends, to_centres : callable
            Sum what dihedrals send, (..., dihedrals, channels), at their atoms i, and at their j.
        """
        harmonics, first, second = geometry
        scale, shift = step.chunk(2, dim=-1)
        hidden = identity + shift + self.angle(harmonics) * (1.0 + scale)
        hidden = nn.functional.silu(self.hidden(nn.functional.silu(hidden)))
        scalars = self.to_scalars(torch.cat([to_ends(hidden), to_centres(hidden)], dim=-1))
        for_end, for_centre, across = self.coefficients(hidden).unsqueeze(-2).chunk(3, dim=-1)
        first, second = first.unsqueeze(-1), second.unsqueeze(-1)
        at_end = (for_end * first).flatten(-2)
        at_centre = torch.cat([for_centre * first, across * second], dim=-1).flatten(-2)
        sums = to_ends(at_end), to_centres(at_centre)
        arrived = torch.cat([part.unflatten(-1, (3, -1)) for part in sums], dim=-1)
        return scalars, mix(arrived, self.to_vectors)
