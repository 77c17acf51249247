"""Dihedral angles at the entrance of the dense network."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from molflow.nn.dihedral_messages import DihedralMessages, dihedral_geometry
from molflow.nn.graph import MolecularGraph


class DihedralFeatures(DihedralMessages):
    """What each atom of one molecule learns from the dihedral angles it is part of.

    Parameters
    ----------
    graph : MolecularGraph
    width, step_width, scalars, vectors : int
        Learned features per dihedral; features of the step; scalars and vectors per atom.
    """

    atoms: Tensor
    end: Tensor
    centre: Tensor

    def __init__(
        self, graph: MolecularGraph, width: int, step_width: int, scalars: int, vectors: int
    ):
        super().__init__()
        n = graph.n_atoms
        atoms = torch.tensor(graph.dihedrals(), dtype=torch.long).reshape(-1, 4)
        self.register_buffer("atoms", atoms, persistent=False)
        for place, name in enumerate(("end", "centre")):
            incidence = nn.functional.one_hot(atoms[:, place], n).T * self.SHARE
            self.register_buffer(name, incidence.to(torch.get_default_dtype()), persistent=False)
        self.identity = nn.Parameter(torch.randn(4, n, width) * 0.5)
        self.make_messages(width, step_width, scalars, vectors)

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
        i, j, k, other = (positions[:, index] for index in self.atoms.unbind(1))
        geometry = dihedral_geometry(i, j, k, other)
        identity = functools.reduce(
            torch.add, (table[self.atoms[:, n]] for n, table in enumerate(self.identity))
        )
        return self.messages(
            geometry,
            identity,
            self.step(step).unsqueeze(1),
            lambda sent: self.end @ sent,
            lambda sent: self.centre @ sent,
        )
