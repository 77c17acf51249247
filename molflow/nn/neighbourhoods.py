"""Names of the surroundings of atoms and pairs, the same in all molecules that have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from molflow.nn.bond_orders import bond_orders
from molflow.nn.graph import MolecularGraph, handed

#: Pairs up to so many bonds apart are told apart by their surroundings, others by elements alone.
NEAR = 3
#: Ends the names that say of a pair only how many bonds apart it is.
APART = " bonds apart"


def neighbourhoods(graph: MolecularGraph, radius: int, hands: bool = True) -> list[list[str]]:
    """Return names of the surroundings of every atom, one list for each radius up to `radius`.

    As circular fingerprints are made (Rogers and Hahn 2010): at radius 0 an atom is its element,
    charge and number of bonds; at each further radius it is what it was with what its neighbours
    were and, with `hands`, its hand as the order of these names gives it. Names do not depend on
    the order of atoms.
    """
    around, (_, charges) = graph.neighbours(), bond_orders(graph)
    names = [
        f"{element}{charge:+g}/{len(row)}"
        for element, charge, row in zip(graph.elements, charges, around, strict=True)
    ]
    found = [names]
    for _ in range(radius):
        before = found[-1]
        found.append([
            _short(
                (before[atom], *sorted(before[j] for j in row))
                + ((str(_hand(graph, atom, row, before)),) if hands else ())
            )
            for atom, row in enumerate(around)
        ])  # fmt: skip
    return found


def _short(words: Iterable[str]) -> str:
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:12]


def _hand(graph: MolecularGraph, atom: int, around: list[int], names: list[str]) -> int:
    """Return the hand of an atom by the names of its neighbours, 0 where two are alike."""
    hand = graph.hands[atom] if graph.hands else 0
    if not hand or len({names[j] for j in around}) < len(around):
        return 0
    return handed(hand, [names[j] for j in sorted(around)])


def pair_names(graph: MolecularGraph) -> dict[tuple[int, int], tuple[str, ...]]:
    """Return names of every pair (i, j), i < j, the most particular first.

    A pair at most `NEAR` bonds apart has the names of the surroundings of its ends and of the atoms
    between, then its elements and numbers of bonds, then only how many bonds apart it is; one
    further apart its elements and bonds between, then these alone. Hands do not matter.
    """
    n = graph.n_atoms
    kinds, particular = neighbourhoods(graph, 1, hands=False)
    apart = bonds_between(graph)
    names: dict[tuple[int, int], tuple[str, ...]] = {}
    for i in range(n):
        for j in range(i + 1, n):
            g = apart[i][j]
            if g <= NEAR:
                between = [
                    kinds[k] for k in range(n) if k not in (i, j) and apart[i][k] + apart[k][j] == g
                ]
                ends = sorted((particular[i], particular[j]))
                first = _short((str(g), *ends, *sorted(between)))
                second = _short((str(g), *sorted((kinds[i], kinds[j]))))
                names[i, j] = (first, second, f"{g}{APART}")
            else:
                low, high = sorted((graph.elements[i], graph.elements[j]))
                names[i, j] = (f"{g}{APART}, {low} and {high}", f"{g}{APART}")
    return names


def furthest(names: Iterable[str]) -> int:
    """Return how many bonds apart are the pairs of the names that say no more, at most."""
    ends = (name.removesuffix(APART) for name in names if name.endswith(APART))
    return max(map(int, ends), default=0)


def bonds_between(graph: MolecularGraph) -> list[list[int]]:
    """Return the number of bonds between all atoms; of pieces that no bond joins the atoms."""
    n = graph.n_atoms
    table = [[n] * n for _ in range(n)]
    for i, j, apart in graph.pairs_within(n):
        table[i][j] = apart
    for i in range(n):
        table[i][i] = 0
    return table
