"""Orders of bonds and formal charges, from a bond graph with all its hydrogens."""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear

from molflow.nn.graph import MolecularGraph

#: Bonds that an element makes, the least number first where there are several.
_VALENCES = {
    1: (1,), 5: (3,), 6: (4,), 7: (3,), 8: (2,), 9: (1,), 14: (4,), 15: (3, 5), 16: (2, 4, 6),
    17: (1,), 35: (1,), 53: (1,),
}  # fmt: skip
#: Those of a nitrogen with two oxygens that have no other neighbour, as it is usually drawn.
_NITRO = 5
#: Elements, and weight of the square of their charge: where there is a choice they have none.
_NEVER, _STIFF = (1, 6, 14, 15), 1e3
#: Weight of the squares of what bonds are beyond single ones, which decides between equals.
_EVEN = 1e-4


def bond_orders(graph: MolecularGraph) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the order of each bond, (bonds,), and the formal charge of each atom, (atoms,).

    With the usual valence v of every atom, orders o ≥ 1 minimise

        Σ_atoms w (Σ_bonds o − v)² + ε Σ_bonds (o − 1)²,

    of which the charge is Σ o − v, with w large for carbon, hydrogen and what has more bonds than
    its least valence. The minimum is unique, so
    that atoms that are alike have equal charges: the oxygens of a carboxylate have −1/2 and bonds
    of order 3/2, those of benzene are 3/2 too. Atoms of other elements, metals say, are left out:
    their bonds are single, their charge 0.

    Coarse graphs, without hydrogens, have orders and charges that mean nothing in chemistry but are
    functions of the graph all the same.
    """
    around = graph.neighbours()
    valences = [_valence(graph, around, atom) for atom in range(graph.n_atoms)]
    known = [atom for atom, valence in enumerate(valences) if valence is not None]
    if not graph.bonds or not known:
        return np.ones(len(graph.bonds)), np.zeros(graph.n_atoms)
    bonds = np.array(graph.bonds)
    rows = np.zeros((graph.n_atoms, len(bonds)))
    for column, (i, j) in enumerate(bonds):
        rows[[i, j], column] = 1.0
    wanted = np.array([valences[atom] for atom in known], dtype=float) - rows[known].sum(1)
    stiff = [
        graph.elements[atom] in _NEVER or valences[atom] != _VALENCES[graph.elements[atom]][0]
        for atom in known
    ]
    root = np.sqrt(np.where(stiff, _STIFF, 1.0))
    # Only what an atom lacks can be made by more than single bonds.
    free = [k for k, (i, j) in enumerate(bonds) if valences[i] and valences[j]]
    matrix = np.vstack([root[:, None] * rows[known][:, free], np.sqrt(_EVEN) * np.eye(len(free))])
    target = np.concatenate([root * wanted, np.zeros(len(free))])
    more = np.zeros(len(bonds))
    if free:
        more[free] = lsq_linear(matrix, target, bounds=(0.0, 2.0), method="bvls").x
    charges = np.zeros(graph.n_atoms)
    charges[known] = rows[known] @ more - wanted
    return np.round(1.0 + more, 2), np.round(charges, 2) + 0.0


def _valence(graph: MolecularGraph, around: list[list[int]], atom: int) -> int | None:
    """Return how many bonds an atom usually makes; None where that is not known."""
    element, degree = graph.elements[atom], len(around[atom])
    if element not in _VALENCES or not degree:
        return None
    # Oxygens of nitro groups, sulfones and phosphates are drawn with double bonds.
    oxygens = sum(graph.elements[j] == 8 and len(around[j]) == 1 for j in around[atom])
    if element == 7 and oxygens == 2:
        return _NITRO
    if element in (15, 16) and oxygens:
        degree += oxygens if element == 16 else 1
        return next((v for v in _VALENCES[element] if v >= degree), _VALENCES[element][-1])
    return _VALENCES[element][0]
