"""Which torsions a molecule has: backbone and side chains of peptides, or rotatable bonds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import mdtraj
import numpy as np
from mdtraj.geometry import dihedral as mdtraj_dihedral

from molflow.analysis.graph import neighbours, rings

_SIDE_CHAIN = [
    (f"chi{k}", getattr(mdtraj_dihedral, f"indices_chi{k}")) for k in range(1, 6)
]  # fmt: skip


@dataclass(frozen=True)
class Torsion:
    """A torsion of a molecule.

    Attributes
    ----------
    name : str
        ``phi ALA2``, ``chi1 LEU5`` or, about a rotatable bond, ``C1-C2-C3-C4 LIG1``. The residue
        is left out of the names of phi and psi where one residue has both and no other has any.
    kind : str
        ``phi``, ``psi``, ``chi1`` to ``chi5`` or ``bond``.
    residue : int
        Index of the residue of the third atom of a phi, of the second atom of the others.
    atoms : tuple of int
        Four 0-based indices.
    """

    name: str
    kind: str
    residue: int
    atoms: tuple[int, int, int, int]


def torsion_list(topology: mdtraj.Topology) -> list[Torsion]:
    """Return the torsions that tell conformations apart.

    Phi and psi of every residue and chi1 to chi5 of every side chain, by atom names (mdtraj's);
    in residues without any of these, torsions about rotatable bonds.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds, if it has parts that are not peptides.
    """
    peptide = [
        ("phi", mdtraj_dihedral.indices_phi(topology), 1),
        ("psi", mdtraj_dihedral.indices_psi(topology), 1),
        *((name, find(topology), 1) for name, find in _SIDE_CHAIN),
    ]
    found = []
    for kind, rows, place in peptide:
        for atoms in np.asarray(rows, int).reshape(-1, 4).tolist():
            residue = topology.atom(atoms[place]).residue
            found.append(Torsion(f"{kind} {residue}", kind, residue.index, tuple(atoms)))
    covered = {torsion.residue for torsion in found}
    counts = Counter(torsion.kind for torsion in found)
    only = {torsion.residue for torsion in found if torsion.kind in ("phi", "psi")}
    if counts["phi"] == counts["psi"] == len(only) == 1:
        found = [
            Torsion(t.kind, t.kind, t.residue, t.atoms) if t.kind in ("phi", "psi") else t
            for t in found
        ]
    return found + [t for t in _rotatable(topology) if t.residue not in covered]


def _rotatable(topology: mdtraj.Topology) -> list[Torsion]:
    """Return torsions about bonds outside rings whose ends both carry another heavy atom.

    Bonds known to be double, triple or aromatic and amide bonds do not rotate. Where a file says
    nothing of bond orders, a double bond is listed like a single one: it is merely narrow.
    """
    table = neighbours(topology)
    number = [0 if a.element is None else a.element.atomic_number for a in topology.atoms]
    heavy = [[j for j in around if number[j] != 1] for around in table]
    in_ring = {frozenset(pair) for ring in rings(topology) for pair in zip(
        ring, ring[1:] + ring[:1], strict=True)}  # fmt: skip

    def carbonyl(c: int) -> bool:
        return number[c] == 6 and any(number[o] == 8 and len(table[o]) == 1 for o in table[c])

    found = []
    for bond in topology.bonds:
        b, c = sorted((bond.atom1.index, bond.atom2.index))
        ends = [j for j in heavy[b] if j != c], [j for j in heavy[c] if j != b]
        amide = (carbonyl(b) and number[c] == 7) or (carbonyl(c) and number[b] == 7)
        stiff = (bond.order or 1) > 1 or str(bond.type) in ("Double", "Triple", "Aromatic", "Amide")
        if not all(ends) or amide or stiff or frozenset((b, c)) in in_ring or 1 in (
            number[b], number[c]
        ):  # fmt: skip
            continue
        atoms = (ends[0][0], b, c, ends[1][0])
        residue = topology.atom(b).residue
        name = "-".join(topology.atom(i).name for i in atoms)
        found.append(Torsion(f"{name} {residue}", "bond", residue.index, atoms))
    return sorted(found, key=lambda t: t.atoms[1:3])


def backbone_pairs(torsions: list[Torsion]) -> list[tuple[int, int]]:
    """Return the places in the list of phi and psi of every residue that has both."""
    phi = {t.residue: i for i, t in enumerate(torsions) if t.kind == "phi"}
    psi = {t.residue: i for i, t in enumerate(torsions) if t.kind == "psi"}
    return [(phi[residue], psi[residue]) for residue in sorted(phi.keys() & psi.keys())]


def measure_torsions(positions: np.ndarray, torsions: list[Torsion]) -> np.ndarray:
    """Return every torsion of every sample.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm; samples that are not finite give NaN.
    torsions : list of Torsion

    Returns
    -------
    ndarray, (n, len(torsions)), float32
        rad on [-pi, pi].
    """
    if len(positions) == 0 or not torsions:
        return np.zeros((len(positions), len(torsions)), np.float32)
    # A trajectory of bare atoms: mdtraj's kernel needs positions only, and molecules are whole.
    bare = mdtraj.Trajectory(positions, None)
    indices = np.array([t.atoms for t in torsions])
    angles = mdtraj.compute_dihedrals(bare, indices, periodic=False)
    limit = np.float32(3.1415925)  # the largest float32 below pi
    return np.clip(angles, -limit, limit)
