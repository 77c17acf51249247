"""Dihedral angles at the entrance of networks on sparse graphs."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from molflow.nn.dihedral_messages import DihedralMessages, dihedral_geometry
from molflow.nn.molecules import Molecules


class GraphDihedrals(DihedralMessages):
    """What each atom of a batch of different molecules learns from its dihedral angles.

    The four atoms are known by element and by kind. Time and memory grow as the number of
    dihedrals, and so as that of atoms.

    Parameters
    ----------
    kinds : int
        Number of kinds of atoms, the unknown one included.
    width, step_width, scalars, vectors : int
        Learned features per dihedral; features of the step; scalars and vectors per atom.
    """

    #: In units of its size, a molecule of thousands of atoms has bonds of a tenth.
    SMOOTHING = 1e-5

    def __init__(self, kinds: int, width: int, step_width: int, scalars: int, vectors: int):
        super().__init__()
        self.kind = nn.Parameter(torch.randn(kinds, 4, width) * 0.35)
        self.element = nn.Parameter(torch.randn(120, 4, width) * 0.35)
        self.make_messages(width, step_width, scalars, vectors)

    def forward(
        self, molecules: Molecules, positions: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what to add to the scalars and to the vectors of each atom.

        Parameters
        ----------
        molecules : Molecules
        positions : Tensor, (N, 3)
            Of about unit size.
        step : Tensor, (M, step_width)

        Returns
        -------
        Tensor, (N, scalars)
        Tensor, (N, 3, vectors)
        """
        atoms = molecules.dihedrals.unbind(0)
        i, j, k, other = (positions.index_select(0, index) for index in atoms)
        geometry = dihedral_geometry(i, j, k, other, self.SMOOTHING)
        by_atom = self.kind.index_select(0, molecules.kind)
        by_atom = by_atom + self.element.index_select(0, molecules.element)
        identity = functools.reduce(
            torch.add,
            (
                part.index_select(0, index)
                for part, index in zip(by_atom.unbind(1), atoms, strict=True)
            ),
        )
        molecule = molecules.molecule.index_select(0, atoms[1])

        def to_ends(sent: Tensor) -> Tensor:
            return self.SHARE * scatter(sent, atoms[0], dim_size=len(positions))

        def to_centres(sent: Tensor) -> Tensor:
            return self.SHARE * scatter(sent, atoms[1], dim_size=len(positions))

        step = self.step(step).index_select(0, molecule)
        return self.messages(geometry, identity, step, to_ends, to_centres)
