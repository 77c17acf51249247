"""One molecule as tensors, for a network that speaks of any."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from molflow.nn.bond_orders import bond_orders
from molflow.nn.chemistry import Chemistry
from molflow.nn.dihedral_messages import DihedralMessages
from molflow.nn.graph import MolecularGraph, handed
from molflow.nn.molecules import RESIDUES

#: Place of a residue that has no name for the network.
UNNAMED = len(RESIDUES)


class Conditions(NamedTuple):
    """What is known of a molecule of n atoms and D dihedrals before its positions.

    Attributes
    ----------
    element, residue : Tensor, (n,), int
        Atomic number, and place in `RESIDUES`, `UNNAMED` for all others and those never seen.
    charge : Tensor, (n,)
        Formal charges.
    orders : Tensor, (n, n)
        Of bonds; 0 where there is none.
    apart : Tensor, (n, n), int
        Bonds between two atoms, at most `MAX_GRAPH_DISTANCE`.
    mean, sd : Tensor, (n, n)
        Of distances in molecules that were seen; sd is infinite where nothing is known.
    dihedrals : Tensor, (D, 4), int
        See `MolecularGraph.dihedrals`.
    improper, hand : Tensor, (D,)
        1 for those about an atom, and for these the sign of the triple product of the vectors from
        it to the three others, in the order i, k, l; 0 where there is no lasting hand.
    end, centre : Tensor, (n, D)
        What atoms i and j of a dihedral take of its message.
    """

    element: Tensor
    residue: Tensor
    charge: Tensor
    orders: Tensor
    apart: Tensor
    mean: Tensor
    sd: Tensor
    dihedrals: Tensor
    improper: Tensor
    hand: Tensor
    end: Tensor
    centre: Tensor


def conditions_of(graph: MolecularGraph, chemistry: Chemistry | None) -> Conditions:
    """Describe a molecule in the light of what was seen, None for nothing."""
    n, kind = graph.n_atoms, torch.get_default_dtype()
    by_bond, charges = bond_orders(graph)
    orders = torch.zeros(n, n)
    for (i, j), order in zip(graph.bonds, by_bond.tolist(), strict=True):
        orders[i, j] = orders[j, i] = order
    mean, sd = torch.zeros(n, n), torch.full((n, n), torch.inf)
    places: dict[str, int] = {}
    if chemistry is not None:
        means, deviations, known = (torch.from_numpy(part) for part in chemistry.statistics(graph))
        mean, sd = means, torch.where(known, deviations, torch.inf)
        places = {name: k for k, name in enumerate(RESIDUES) if name in chemistry.residues}
    found = graph.dihedrals()
    dihedrals = torch.tensor(found, dtype=torch.long).reshape(-1, 4)
    around = graph.neighbours()
    improper = [other in around[j] for _, j, _, other in found]
    hands = [
        _triple(graph, around[j], (i, k, other), j) if inside else 0
        for (i, j, k, other), inside in zip(found, improper, strict=True)
    ]
    end, centre = (
        nn.functional.one_hot(dihedrals[:, place], n).T.to(kind) * DihedralMessages.SHARE
        for place in (0, 1)
    )
    return Conditions(
        element=torch.tensor(graph.elements),
        residue=torch.tensor([places.get(name, UNNAMED) for name in graph.residues]),
        charge=torch.from_numpy(charges).to(kind),
        orders=orders.to(kind),
        apart=torch.tensor(graph.distances()),
        mean=mean.to(kind),
        sd=sd.to(kind),
        dihedrals=dihedrals,
        improper=torch.tensor(improper, dtype=kind),
        hand=torch.tensor(hands, dtype=kind),
        end=end,
        centre=centre,
    )


def _triple(graph: MolecularGraph, around: list[int], three: tuple[int, ...], centre: int) -> int:
    """Return the sign of the triple product of the vectors from an atom to three neighbours.

    Exchanging two neighbours of a tetrahedron changes the sign, one that is left out as well: the
    four vectors add up to nearly nothing.
    """
    hand = graph.hands[centre] if graph.hands else 0
    rest = [atom for atom in sorted(around) if atom not in three]
    return handed(hand, [*three, *rest]) if len(around) <= 4 else 0
