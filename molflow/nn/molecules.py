"""Molecules as torch_geometric data, and batches of them as flat tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflow.nn.graph import MAX_GRAPH_DISTANCE, MolecularGraph, kinds_of

#: Pairs up to so many bonds apart (bonds, angles, torsions) always hear each other.
REACH = 3

#: Residues that are told apart; all others share an embedding.
RESIDUES = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET"),
    *("PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL", "ACE", "NME", "NH2", "HOH"),
)


class Molecules(NamedTuple):
    """Several molecules, atom after atom; N atoms, M molecules, P pairs, D dihedrals.

    Attributes
    ----------
    element, residue, kind : Tensor, (N,), int
        Atomic number, place in `RESIDUES` (one past its end: another), and kind of atom.
    molecule : Tensor, (N,), int
        Which molecule an atom belongs to.
    pairs : Tensor, (2, P), int
        Sender and receiver of the pairs that are always there, in the order of the receivers.
    bonds : Tensor, (P,), int
        Number of bonds between them, at most `MAX_GRAPH_DISTANCE`.
    mean, sd : Tensor, (P,)
        Of their distances in the data; sd is infinite where nothing is known.
    dihedrals : Tensor, (4, D), int
        The four atoms of each, see `MolecularGraph.dihedrals`.
    searching : Tensor, (S,), int
        Atoms whose other neighbours are looked for among the positions.
    first : Tensor, (M + 1,), int
        First atom of each molecule, and N.
    """

    element: Tensor
    residue: Tensor
    kind: Tensor
    molecule: Tensor
    pairs: Tensor
    bonds: Tensor
    mean: Tensor
    sd: Tensor
    dihedrals: Tensor
    searching: Tensor
    first: Tensor

    @classmethod
    def from_batch(cls, batch: Batch) -> Molecules:
        """Read a `torch_geometric.data.Batch` of what `molecule_data` returns."""
        return cls(
            element=batch.element,
            residue=batch.residue,
            kind=batch.kind,
            molecule=batch.batch,
            pairs=batch.edge_index,
            bonds=batch.bonds,
            mean=batch.mean,
            sd=batch.sd,
            dihedrals=batch.dihedral_index,
            searching=torch.nonzero(batch.searches).squeeze(1),
            first=batch.ptr,
        )

    def copies(self, count: int) -> Molecules:
        """Return so many copies of a single molecule."""
        n = len(self.element)
        offset = n * torch.arange(count, device=self.element.device)

        def shifted(index: Tensor) -> Tensor:
            return (index.unsqueeze(-2) + offset.unsqueeze(-1)).flatten(-2)

        return Molecules(
            element=self.element.repeat(count),
            residue=self.residue.repeat(count),
            kind=self.kind.repeat(count),
            molecule=torch.arange(count, device=self.element.device).repeat_interleave(n),
            pairs=shifted(self.pairs),
            bonds=self.bonds.repeat(count),
            mean=self.mean.repeat(count),
            sd=self.sd.repeat(count),
            dihedrals=shifted(self.dihedrals),
            searching=shifted(self.searching),
            first=n * torch.arange(count + 1, device=self.element.device),
        )


def molecule_data(graph: MolecularGraph, kinds: dict[str, int], neighbours: int) -> Data:
    """Describe a molecule for a graph network.

    Molecules of at most ``neighbours + 1`` atoms have all their pairs. In larger ones pairs up to
    `REACH` bonds apart are always there, and the others are looked for.

    Parameters
    ----------
    graph : MolecularGraph
    kinds : dict
        Number of each known kind of atom, see `kinds_of`; 0 is for those unknown.
    neighbours : int
        How many atoms are looked for.

    Returns
    -------
    Data
        Collate several with `torch_geometric.data.Batch.from_data_list`.
    """
    n = graph.n_atoms
    searches = n - 1 > neighbours
    if searches:
        pairs = graph.pairs_within(REACH)
    else:
        table = graph.distances()
        pairs = [(i, j, table[i][j]) for i in range(n) for j in range(n) if i != j]
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 3)
    places = {name: k for k, name in enumerate(RESIDUES)}
    return Data(
        element=torch.tensor(graph.elements),
        residue=torch.tensor([places.get(name, len(RESIDUES)) for name in graph.residues]),
        kind=torch.tensor([kinds.get(name, 0) for name in kinds_of(graph)]),
        edge_index=index[:, [1, 0]].T.contiguous(),
        bonds=index[:, 2].clamp(max=MAX_GRAPH_DISTANCE),
        mean=torch.zeros(len(pairs)),
        sd=torch.full((len(pairs),), torch.inf),
        # torch_geometric adds the atoms before to what is named an index.
        dihedral_index=torch.tensor(graph.dihedrals(), dtype=torch.long).reshape(-1, 4).T,
        searches=torch.full((n,), searches),
        num_nodes=n,
    )
