"""The bond graph of a molecule: neighbours, rings, and bonds where a file brings none."""

from __future__ import annotations

from collections import deque

import mdtraj
import numpy as np
from scipy.spatial import cKDTree

#: No bond is longer than this, nm.
LONGEST_BOND = 0.35
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
    """Return the topology with the bonds that a conformation shows.

    Parameters
    ----------
    topology : mdtraj.Topology
        From a file; of residues that it does not know, a GRO file or a PDB file without CONECT
        names no bonds. Readers bond each residue of a chain to the next.
    positions : ndarray, (n_atoms, 3)
        One sound conformation, nm.

    Returns
    -------
    mdtraj.Topology
        The same object if nothing changes; otherwise a copy. Atoms that have no bond are bonded to
        atoms closer than the sum of their covalent radii plus 0.04 nm, and so are heavy atoms of
        different residues: rings and bridges of peptides, links. Ions, which are residues of a
        single atom among others, and particles without an element are left alone where the file
        names bonds. Residues that follow each other with a gap in their numbers, and are farther
        apart than any bond is long, are not bonded: what is between them is missing.
    """
    if topology.n_atoms < 2 or not np.isfinite(positions).all():
        return topology
    bare = np.array([not row for row in neighbours(topology)], bool)
    alone = np.zeros(len(bare), bool)
    if topology.n_bonds:
        alone |= [a.element is None or a.residue.n_atoms == 1 for a in topology.atoms]
    heavy = np.array([a.element is not None and a.element.symbol != "H" for a in topology.atoms])
    residue = np.array([a.residue.index for a in topology.atoms])
    radii = covalent_radii(topology)
    pairs = cKDTree(positions).query_pairs(2 * radii.max() + _SLACK, output_type="ndarray")
    i, j = np.sort(pairs, axis=1).T
    joined = (bare & ~alone)[i] | (bare & ~alone)[j]
    joined |= (heavy & ~alone)[i] & (heavy & ~alone)[j] & (residue[i] != residue[j])
    near = np.linalg.norm(positions[i] - positions[j], axis=1) < radii[i] + radii[j] + _SLACK
    known = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    new = set(zip(*(x[joined & near].tolist() for x in (i, j)), strict=True)) - known
    gaps = {(a.index, b.index) for a, b in topology.bonds if _across_a_gap(a, b, positions)}
    if not new and not gaps:
        return topology
    made = topology.copy()
    atoms = list(made.atoms)
    for a, b in sorted(new):
        made.add_bond(atoms[a], atoms[b])
    # mdtraj has no way to take a bond off.
    made._bonds = [bond for bond in made._bonds if (bond[0].index, bond[1].index) not in gaps]
    return made


def _across_a_gap(a, b, positions: np.ndarray) -> bool:
    steps = b.residue.index - a.residue.index, b.residue.resSeq - a.residue.resSeq
    if abs(steps[0]) != 1 or abs(steps[1]) <= 1:
        return False
    return bool(np.linalg.norm(positions[a.index] - positions[b.index]) > LONGEST_BOND)


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
    return rings_of(neighbours(topology))


def rings_of(table: list[list[int]]) -> list[tuple[int, ...]]:
    """Return the same of a molecule of which the bonded atoms of every atom are given."""
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for a, around in enumerate(table):
        for b in (other for other in around if other > a):
            ring = _path(table, a, b)
            if ring is not None:
                found.setdefault(frozenset(ring), tuple(ring))
    return sorted(found.values())
