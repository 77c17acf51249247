"""The bond graph of a molecule: neighbours, rings, and bonds where a file brings none."""

from __future__ import annotations

from collections import deque

import mdtraj
import numpy as np

#: Covalent radii in nm, Cordero et al., Dalton Trans. 2832 (2008); other elements count as carbon.
_RADII = {
    "H": 0.031, "B": 0.084, "C": 0.076, "N": 0.071, "O": 0.066, "F": 0.057, "Si": 0.111,
    "P": 0.107, "S": 0.105, "Cl": 0.102, "Se": 0.120, "Br": 0.120, "I": 0.139,
}  # fmt: skip
#: How much longer than the sum of the radii a bond may be, nm.
_SLACK = 0.04


def neighbours(topology: mdtraj.Topology) -> list[list[int]]:
    """Return the sorted bonded neighbours of every atom."""
    table: list[list[int]] = [[] for _ in range(topology.n_atoms)]
    for a, b in topology.bonds:
        table[a.index].append(b.index)
        table[b.index].append(a.index)
    return [sorted(set(row)) for row in table]


def with_bonds(topology: mdtraj.Topology, positions: np.ndarray) -> mdtraj.Topology:
    """Return the topology, with bonds guessed by distance for atoms that have none.

    Parameters
    ----------
    topology : mdtraj.Topology
        From a file; of residues that it does not know, a GRO file or a PDB file without CONECT
        names no bonds.
    positions : ndarray, (n_atoms, 3)
        One sound conformation, nm.

    Returns
    -------
    mdtraj.Topology
        The same object if every atom has a bond; otherwise a copy in which those that have none are
        bonded to atoms closer than the sum of their covalent radii plus 0.04 nm. Ions, which are
        residues of a single atom among others, and particles without an element are left alone
        where the file names bonds.
    """
    bare = np.array([not row for row in neighbours(topology)], bool)
    if topology.n_bonds:
        alone = [a.element is None or a.residue.n_atoms == 1 for a in topology.atoms]
        bare &= ~np.array(alone, bool)
    if not bare.any() or topology.n_atoms < 2:
        return topology
    made = topology.copy()
    atoms, radii = list(made.atoms), covalent_radii(made)
    for i in range(len(atoms) - 1):
        distance = np.linalg.norm(positions[i + 1 :] - positions[i], axis=1)
        close = (distance < radii[i] + radii[i + 1 :] + _SLACK) & (bare[i] | bare[i + 1 :])
        near = np.flatnonzero(close) + i + 1
        for j in near:
            made.add_bond(atoms[i], atoms[j])
    return made


def covalent_radii(topology: mdtraj.Topology) -> np.ndarray:
    """Return the covalent radii of all atoms, nm; unknown elements count as carbon."""
    symbols = [atom.element.symbol if atom.element else "C" for atom in topology.atoms]
    return np.array([_RADII.get(symbol, _RADII["C"]) for symbol in symbols])


def _path(table: list[list[int]], start: int, end: int) -> list[int] | None:
    """Return the shortest path between two bonded atoms that avoids their bond, or None."""
    before, queue = {start: start}, deque([start])
    while queue:
        here = queue.popleft()
        for there in table[here]:
            if there in before or (here, there) == (start, end):
                continue
            before[there] = here
            if there == end:
                path = [end]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path
            queue.append(there)
    return None


def rings(topology: mdtraj.Topology) -> list[tuple[int, ...]]:
    """Return the smallest ring through every bond that is in one, each once.

    Returns
    -------
    list of tuple of int
        Atoms in order round the ring.
    """
    table = neighbours(topology)
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for a, around in enumerate(table):
        for b in (other for other in around if other > a):
            ring = _path(table, a, b)
            if ring is not None:
                found.setdefault(frozenset(ring), tuple(ring))
    return sorted(found.values())
