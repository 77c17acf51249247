"""Stereocentres and their hand, as the positions show it: nothing is repaired first."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.graph import neighbours
from molflow.colours import refined


def stereocentres(
    topology: mdtraj.Topology, kept: np.ndarray | None = None
) -> list[tuple[int, int, int, int]]:
    """Find carbons with four different neighbours.

    Two neighbours are different if colour refinement on the bond graph, starting from the
    elements, tells them apart (so the hydrogens of a methyl group are alike).

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, with bonds.
    kept : ndarray of int, optional
        Subset of the atoms that is at hand. It shows a hand if it keeps the centre and three
        neighbours.

    Returns
    -------
    list of (centre, a, b, c)
        The centre and its first three neighbours in the order of their indices, for the sign of
        the triple product; indices into `kept` if it is given.
    """
    table = neighbours(topology)
    elements = [atom.element.atomic_number if atom.element else 0 for atom in topology.atoms]
    colours = refined(elements, table)
    place = {int(a): i for i, a in enumerate(range(topology.n_atoms) if kept is None else kept)}
    found = []
    for atom in topology.atoms:
        around = table[atom.index]
        carbon = atom.element is not None and atom.element.symbol == "C"
        if carbon and len(around) == 4 and len({colours[j] for j in around}) == 4:
            seen = [place[j] for j in around if j in place]
            if atom.index in place and len(seen) >= 3:
                a, b, c = seen[:3]
                found.append((place[atom.index], a, b, c))
    return found


def handedness(positions: np.ndarray, centres: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Return the sign of the triple product at every stereocentre, (n, len(centres))."""
    signs = np.empty((len(positions), len(centres)))
    for column, (centre, *around) in enumerate(centres):
        a, b, c = (positions[:, i].astype(np.float64) - positions[:, centre] for i in around)
        signs[:, column] = np.sign(np.sum(a * np.cross(b, c), axis=1))
    return signs
