"""Torsions whose end looks the same after a part of a turn: rings, carboxylates, CF₃ and such."""

from __future__ import annotations

from math import lcm

import mdtraj

from molflow.analysis.molecule.graph import neighbours


def symmetry_numbers(topology: mdtraj.Topology, axes: list[tuple[int, int]]) -> list[int]:
    """Return for every bond the part n of a turn, 2π/n, after which the molecule is the same.

    An end of three equal substituents looks the same after a third of a turn, a planar one of two
    after half of it: what differs are the numbers of the atoms alone. Substituents are equal where
    refined colours of the graph on that side of the bond are (Weisfeiler and Leman), elements and
    numbers of bonds to begin with; their hands are not told apart.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds. Without hydrogens on its carbons a planar centre cannot be told from a bent one,
        and all are 1.
    axes : list of (int, int)
        The two middle atoms of torsions.
    """
    table = neighbours(topology)
    symbols = ["" if atom.element is None else atom.element.symbol for atom in topology.atoms]
    if not any(symbols[i] == "C" and any(symbols[j] == "H" for j in around)
               for i, around in enumerate(table)):  # fmt: skip
        return [1] * len(axes)
    return [
        lcm(_of_end(table, symbols, b, c), _of_end(table, symbols, c, b)) for b, c in axes
    ]  # fmt: skip


def _of_end(table: list[list[int]], symbols: list[str], axis: int, centre: int) -> int:
    """Return the order of the rotation that the substituents of one atom allow."""
    others = [j for j in table[centre] if j != axis]
    kinds = {(symbols[j], len(table[j])) for j in others}
    oxides = kinds == {("O", 1)}
    # Of three bonds a carbon is planar, a nitrogen surely as a nitro group.
    planar = len(others) == 2 and (symbols[centre] == "C" or (symbols[centre] == "N" and oxides))
    if not (planar or len(others) == 3) or len(kinds) > 1:
        return 1
    colours = _colours(table, symbols, axis, centre)
    if axis in colours or len({colours[j] for j in others}) > 1:
        return 1
    return len(others)


def _colours(table: list[list[int]], symbols: list[str], axis: int, centre: int) -> dict[int, int]:
    """Return colours of the atoms on the centre's side, those of `axis` too if a ring leads there.

    Refined until they tell no more atoms apart: an atom's colour is its former one and those of its
    neighbours.
    """
    side, ahead = {centre}, [j for j in table[centre] if j != axis]
    while ahead:
        atom = ahead.pop()
        if atom not in side:
            side.add(atom)
            ahead += table[atom]
    colours = {i: hash((symbols[i], len(table[i]), i == centre)) for i in side}
    for _ in range(len(side)):
        refined = {
            i: hash((colours[i], tuple(sorted(colours[j] for j in table[i] if j in side))))
            for i in side
        }
        if len(set(refined.values())) == len(set(colours.values())):
            break
        colours = refined
    return colours
