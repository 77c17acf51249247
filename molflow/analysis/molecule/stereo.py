"""Stereocentres and their hand, as the positions show it: nothing is repaired first."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.graph import neighbours
from molflow.colours import refined

#: Triple product of unit vectors above which a centre is no plane: 0.77 for a tetrahedron.
_PYRAMID = 0.4


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
    colours = _colours(topology, table)
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


def _colours(topology: mdtraj.Topology, table: list[list[int]]) -> list[int]:
    elements = [atom.element.atomic_number if atom.element else 0 for atom in topology.atoms]
    return refined(elements, table)


def shown_stereocentres(
    topology: mdtraj.Topology, positions: np.ndarray, kept: np.ndarray | None = None
) -> list[tuple[int, int, int, int]]:
    """Find stereocentres, also those whose hydrogen is not in the file.

    Where no carbon carries a hydrogen, as in files of heavy atoms, a carbon with three different
    neighbours which is no plane with them is a stereocentre whose fourth neighbour is missing.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, with bonds.
    positions : ndarray, (n, n_atoms, 3)
        Of a sound ensemble, nm.
    kept : ndarray of int, optional
        Subset of the atoms that is at hand.

    Returns
    -------
    list of (centre, a, b, c)
        As `stereocentres`.
    """
    found = stereocentres(topology, kept)
    elements = [atom.element.symbol if atom.element else "" for atom in topology.atoms]
    table = neighbours(topology)
    if any("H" in (elements[j] for j in row) for i, row in enumerate(table) if elements[i] == "C"):
        return found
    colours = _colours(topology, table)
    place = {int(a): i for i, a in enumerate(range(topology.n_atoms) if kept is None else kept)}
    for i, around in enumerate(table):
        different = len(around) == len({colours[j] for j in around}) == 3
        if elements[i] == "C" and different and place.keys() >= {i, *around}:
            if np.median(np.abs(_volume(positions, i, around))) > _PYRAMID:
                a, b, c = (place[j] for j in around)
                found.append((place[i], a, b, c))
    return sorted(found)


def _volume(positions: np.ndarray, centre: int, around: list[int]) -> np.ndarray:
    """Return the triple product of the unit vectors from a centre to three atoms, (n,)."""
    units = []
    for j in around:
        vector = positions[:, j].astype(np.float64) - positions[:, centre]
        units.append(vector / np.linalg.norm(vector, axis=1, keepdims=True))
    return np.sum(units[0] * np.cross(units[1], units[2]), axis=1)


def handedness(positions: np.ndarray, centres: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Return the sign of the triple product at every stereocentre, (n, len(centres))."""
    signs = np.empty((len(positions), len(centres)))
    for column, (centre, *around) in enumerate(centres):
        a, b, c = (positions[:, i].astype(np.float64) - positions[:, centre] for i in around)
        signs[:, column] = np.sign(np.sum(a * np.cross(b, c), axis=1))
    return signs
