"""What atoms learn from dihedral angles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.nn.graph import MolecularGraph
from molflow.nn.vectors import mix


class DihedralFeatures(nn.Module):
    """What each atom learns at the entrance from the dihedral angles it is part of.

    Distances between pairs say little of the rotation about a bond, and nothing of its sense. So
    each dihedral (i, j, k, l) of the bond graph, see `MolecularGraph.dihedrals`, gives atoms i and
    j its angle ω, as cos mω and sin mω for m = 1 to 3 (ω in the sense opposite to IUPAC's), and the
    normals of its two planes, along which atoms move when the bond turns. All directions of a
    dihedral are there, so every atom of it is told.

    Parameters
    ----------
    graph : MolecularGraph
    width, step_width, scalars, vectors : int
        Learned features per dihedral; features of the step; scalars and vectors per atom.
    """

    #: Vectors per normal that a dihedral sends to an atom.
    CHANNELS = 8

    def __init__(
        self, graph: MolecularGraph, width: int, step_width: int, scalars: int, vectors: int
    ):
        super().__init__()
        n = graph.n_atoms
        atoms = torch.tensor(graph.dihedrals(), dtype=torch.long).reshape(-1, 4)
        self.register_buffer("atoms", atoms, persistent=False)
        for place, name in enumerate(("end", "centre")):
            incidence = nn.functional.one_hot(atoms[:, place], n).T / 3.0
            self.register_buffer(name, incidence.to(torch.get_default_dtype()), persistent=False)
        self.identity = nn.Parameter(torch.randn(4, n, width) * 0.5)
        self.angle = nn.Linear(6, width)
        self.step = nn.Linear(step_width, 2 * width)
        self.hidden = nn.Linear(width, width)
        self.coefficients = nn.Linear(width, 3 * self.CHANNELS)
        self.to_scalars = nn.Linear(2 * width, scalars, bias=False)
        self.to_vectors = nn.Parameter(torch.randn(3 * self.CHANNELS, vectors) * 0.5)

    def forward(self, positions: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to add to the scalars and to the vectors of each atom.

        Parameters
        ----------
        positions : Tensor, (batch, atoms, 3)
            Of about unit size.
        step : Tensor, (batch, step_width)

        Returns
        -------
        Tensor, (batch, atoms, scalars)
        Tensor, (batch, atoms, 3, vectors)
        """
        harmonics, first, second = self.geometry(positions)
        identity = sum(table[self.atoms[:, k]] for k, table in enumerate(self.identity))
        scale, shift = self.step(step).unsqueeze(1).chunk(2, dim=-1)
        hidden = identity + shift + self.angle(harmonics) * (1.0 + scale)
        hidden = nn.functional.silu(self.hidden(nn.functional.silu(hidden)))
        scalars = self.to_scalars(torch.cat([self.end @ hidden, self.centre @ hidden], dim=-1))
        return scalars, self._vectors(self.coefficients(hidden), first, second)

    def _vectors(self, coefficients: Tensor, first: Tensor, second: Tensor) -> Tensor:
        b, count, _ = first.shape
        for_end, for_centre, across = coefficients.unsqueeze(2).chunk(3, dim=-1)
        first, second = first.unsqueeze(-1), second.unsqueeze(-1)
        at_end = (for_end * first).reshape(b, count, -1)
        at_centre = torch.cat([for_centre * first, across * second], -1).reshape(b, count, -1)
        n = self.end.shape[0]
        arrived = torch.cat(
            [
                (self.end @ at_end).reshape(b, n, 3, -1),
                (self.centre @ at_centre).reshape(b, n, 3, -1),
            ],
            dim=-1,
        )
        return mix(arrived, self.to_vectors)

    def geometry(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cos ω, sin ω, ..., sin 3ω, (batch, dihedrals, 6), and the two normals.

        The normals are of unit length, shorter where three atoms are nearly on a line, so that
        derivatives are finite where atoms coincide.
        """
        i, j, k, other = (positions[:, index] for index in self.atoms.unbind(1))
        axis = j - k
        first = torch.linalg.cross(i - j, axis)
        second = torch.linalg.cross(axis, k - other)
        first = first * torch.rsqrt(first.square().sum(-1, keepdim=True) + 1e-3)
        second = second * torch.rsqrt(second.square().sum(-1, keepdim=True) + 1e-3)
        axis = axis * torch.rsqrt(axis.square().sum(-1, keepdim=True) + 1e-3)
        c1 = (first * second).sum(-1)
        s1 = (torch.linalg.cross(first, second) * axis).sum(-1)
        c2, s2 = c1 * c1 - s1 * s1, 2.0 * c1 * s1
        c3, s3 = c1 * c2 - s1 * s2, s1 * c2 + c1 * s2
        return torch.stack([c1, s1, c2, s2, c3, s3], dim=-1), first, second
