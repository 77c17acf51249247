"""Torsions whose end looks the same after a part of a turn: rings, carboxylates, CF₃ and such."""

from __future__ import annotations

from math import lcm

import mdtraj

from molflow.analysis.molecule.graph import neighbours
from molflow.colours import refined


def symmetry_numbers(topology: mdtraj.Topology, axes: list[tuple[int, int]]) -> list[int]:
    """Return for every bond the part n of a turn, 2π/n, after which the molecule is the same.

    An end of three equal substituents looks the same after a third of a turn, a planar one of two
    after half of it: what differs are the numbers of the atoms alone. Substituents are equal where
    refined colours of the graph on that side of the bond are (`molflow.colours.refined`), elements
    and numbers of bonds to begin with; their hands are not told apart.

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
    return [lcm(_of_end(table, symbols, b, c), _of_end(table, symbols, c, b)) for b, c in axes]


def _of_end(table: list[list[int]], symbols: list[str], axis: int, centre: int) -> int:
    """Return the order of the rotation that the substituents of one atom allow."""
    others = [j for j in table[centre] if j != axis]
    kinds = {(symbols[j], len(table[j])) for j in others}
    oxides = kinds == {("O", 1)}
    # Of three bonds a carbon is planar, a nitrogen surely as a nitro group.
    planar = len(others) == 2 and (symbols[centre] == "C" or (symbols[centre] == "N" and oxides))
    if not (planar or len(others) == 3) or len(kinds) > 1:
        return 1
    side = _side(table, axis, centre)
    if axis in side:  # in a ring
        return 1
    place = {atom: k for k, atom in enumerate(side)}
    colours = refined(
        [(symbols[atom], len(table[atom]), atom == centre) for atom in side],
        [[place[j] for j in table[atom] if j in place] for atom in side],
    )
    return len(others) if len({colours[place[j]] for j in others}) == 1 else 1


def _side(table: list[list[int]], axis: int, centre: int) -> list[int]:
    """Return the atoms on the centre's side of a bond, `axis` too if a ring leads there."""
    side, ahead = {centre: None}, [j for j in table[centre] if j != axis]
    while ahead:
        atom = ahead.pop()
        if atom not in side:
            side[atom] = None
            ahead += table[atom]
    return list(side)
