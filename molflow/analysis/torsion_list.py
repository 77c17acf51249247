"""Which torsions a molecule has: backbone and side chains of peptides, or rotatable bonds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import mdtraj
import numpy as np
from mdtraj.geometry import dihedral as mdtraj_dihedral

from molflow.analysis.molecule.graph import neighbours, rings
from molflow.analysis.molecule.local_symmetry import symmetry_numbers

_SIDE_CHAIN = [
    (f"chi{k}", getattr(mdtraj_dihedral, f"indices_chi{k}")) for k in range(1, 6)
]  # fmt: skip


@dataclass(frozen=True)
class Torsion:
    """A torsion of a molecule.

    Attributes
    ----------
    name : str
        ``phi ALA2``, ``chi1 LEU5`` or, about a rotatable bond, ``C1-C2-C3-C4 LIG1``, with
        ``2 × `` or ``3 × `` before it where there is a symmetry. The residue is left out of the
        names of phi and psi where one residue has both and no other has any.
    kind : str
        ``phi``, ``psi``, ``chi1`` to ``chi5``, ``omega``, ``disulfide``, ``ring``,
        ``bond`` or ``stiff`` (see `molflow.analysis.molecule.stiff_bonds`).
    residue : int
        Index of the residue of the third atom of a phi or omega, of the second atom of the others.
    atoms : tuple of int
        Four 0-based indices.
    symmetry : int
        n, where 1/n of a turn exchanges equal atoms and no more: what is measured is n times the
        angle, which is the same before and after.
    """

    name: str
    kind: str
    residue: int
    atoms: tuple[int, int, int, int]
    symmetry: int = 1

    @property
    def of_angle(self) -> str:
        """The name of the angle itself, whatever the symmetry."""
        return self.name.removeprefix(f"{self.symmetry} × ")


def torsion_list(topology: mdtraj.Topology) -> list[Torsion]:
    """Return the torsions that tell conformations apart.

    Phi and psi of every residue, through the peptide bonds of the graph and not the order of the
    sequence, and chi1 to chi5 of every side chain, by atom names (mdtraj's chi); omega before
    proline, which may be cis or trans; the three of a disulfide; torsions about all rotatable bonds
    that these leave out; and, in residues without phi, psi and chi, rings that may pucker.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds.
    """
    phi, psi = _backbone(topology)
    peptide = [
        ("phi", phi),
        ("psi", psi),
        *((name, np.asarray(find(topology), int).tolist()) for name, find in _SIDE_CHAIN),
    ]
    labels = residue_labels(topology)
    found = []
    for kind, rows in peptide:
        for atoms in rows:
            residue = topology.atom(atoms[1]).residue.index
            found.append(Torsion(f"{kind} {labels[residue]}", kind, residue, tuple(atoms)))
    named = {torsion.residue for torsion in found}
    counts = Counter(torsion.kind for torsion in found)
    only = {torsion.residue for torsion in found if torsion.kind in ("phi", "psi")}
    if counts["phi"] == counts["psi"] == len(only) == 1:
        found = [
            Torsion(t.kind, t.kind, t.residue, t.atoms) if t.kind in ("phi", "psi") else t
            for t in found
        ]
    table = neighbours(topology)
    found += _omega(topology, table, labels) + _disulfides(topology, table, labels)
    covered = _chain_bonds(topology) | {frozenset(torsion.atoms[1:3]) for torsion in found}
    bonds = [t for t in _rotatable(topology, labels) if frozenset(t.atoms[1:3]) not in covered]
    # Files without hydrogens say nothing of which rings are flat.
    puckering = [t for t in _ring_torsions(topology, table, labels) if t.residue not in named]
    return _with_symmetry(topology, found + bonds + puckering)


def _with_symmetry(topology: mdtraj.Topology, torsions: list[Torsion]) -> list[Torsion]:
    """Return the torsions with the symmetry of their ends, and names that say so."""
    numbers = symmetry_numbers(topology, [(t.atoms[1], t.atoms[2]) for t in torsions])
    return [
        t if n == 1 else replace(t, name=f"{n} × {t.name}", symmetry=n)
        for t, n in zip(torsions, numbers, strict=True)
    ]


def _omega(
    topology: mdtraj.Topology, table: list[list[int]], labels: list[str]
) -> list[Torsion]:
    """Return the torsion about the amide bond before every proline, CA (or CH3), C, N, CA."""
    found = []
    for residue in topology.residues:
        names = {atom.name: atom.index for atom in residue.atoms}
        if residue.name not in ("PRO", "HYP") or not {"N", "CA"} <= names.keys():
            continue
        n = names["N"]
        for c in (j for j in table[n] if topology.atom(j).residue.index != residue.index):
            before = [j for j in table[c] if topology.atom(j).name in ("CA", "CH3")]
            found += [
                Torsion(
                    f"omega {labels[residue.index]}", "omega", residue.index,
                    (a, c, n, names["CA"]),
                )
                for a in before
            ]  # fmt: skip
    return found


def _disulfides(
    topology: mdtraj.Topology, table: list[list[int]], labels: list[str]
) -> list[Torsion]:
    """Return the torsions about S-S and the two C-S bonds of every disulfide."""
    found = []
    for a, b in topology.bonds:
        if {a.name, b.name} != {"SG"} or a.residue.index == b.residue.index:
            continue
        first, second = sorted((a, b), key=lambda atom: atom.index)
        chain = [
            *(_by_name(first.residue, name) for name in ("CA", "CB")), first.index,
            second.index, *(_by_name(second.residue, name) for name in ("CB", "CA")),
        ]  # fmt: skip
        name = "-".join(labels[atom.residue.index] for atom in (first, second))
        for start, word in enumerate(("CB-SG", "SG-SG", "SG-CB")):
            four = chain[start : start + 4]
            if None not in four:
                found.append(
                    Torsion(f"{word} {name}", "disulfide", first.residue.index, tuple(four))
                )
    return found


def _by_name(residue, name: str) -> int | None:
    return next((atom.index for atom in residue.atoms if atom.name == name), None)


def _ring_torsions(
    topology: mdtraj.Topology, table: list[list[int]], labels: list[str]
) -> list[Torsion]:
    """Return torsions about ring bonds between atoms that are not flat: rings that may pucker."""
    found: dict[frozenset, Torsion] = {}

    def bent(i: int) -> bool:
        symbol = topology.atom(i).element.symbol if topology.atom(i).element else ""
        return (symbol == "C" and len(table[i]) == 4) or (symbol in "OS" and len(table[i]) == 2)

    for ring in rings(topology):
        for k in range(len(ring)):
            a, b, c, d = (ring[(k + j) % len(ring)] for j in range(4))
            if len(ring) > 3 and bent(b) and bent(c):
                atoms = (a, b, c, d) if b < c else (d, c, b, a)
                name = "-".join(topology.atom(i).name for i in atoms)
                residue = topology.atom(atoms[1]).residue.index
                torsion = Torsion(f"{name} {labels[residue]}", "ring", residue, atoms)
                found.setdefault(frozenset((b, c)), torsion)
    return sorted(found.values(), key=lambda t: t.atoms[1:3])


def residue_labels(topology: mdtraj.Topology) -> list[str]:
    """Return a name of every residue, with its chain where several have the same."""
    names = [str(residue) for residue in topology.residues]
    counts = Counter(names)
    labels = []
    for name, residue in zip(names, topology.residues, strict=True):
        chain = residue.chain.chain_id or str(residue.chain.index + 1)
        labels.append(name if counts[name] == 1 else f"{name} of chain {chain}")
    counts = Counter(labels)
    # Chains without letters may be one to mdtraj: then the place in the file tells them apart.
    return [
        label if counts[label] == 1 else f"{names[i]} (residue {i + 1} of the file)"
        for i, label in enumerate(labels)
    ]


def _backbone(topology: mdtraj.Topology) -> tuple[list[list[int]], list[list[int]]]:
    """Return the atoms of phi and of psi of all residues that have them."""
    table, atoms = neighbours(topology), list(topology.atoms)

    def linked(start: int, name: str) -> list[int]:
        here = atoms[start].residue
        return [j for j in table[start] if atoms[j].name == name and atoms[j].residue is not here]

    phi, psi = [], []
    for residue in topology.residues:
        place = {atom.name: atom.index for atom in residue.atoms}
        if {"N", "CA", "C"} <= place.keys():
            n, ca, c = (place[name] for name in ("N", "CA", "C"))
            phi += [[before, n, ca, c] for before in linked(n, "C")[:1]]
            psi += [[n, ca, c, after] for after in linked(c, "N")[:1]]
    return phi, psi


def _chain_bonds(topology: mdtraj.Topology) -> set[frozenset[int]]:
    """Return the bonds of backbones, of which phi and psi are what tells conformations apart."""
    names = [{atom.name for atom in residue.atoms} for residue in topology.residues]
    found = set()
    for a, b in topology.bonds:
        inside = a.residue is b.residue and {"N", "CA", "C"} <= names[a.residue.index]
        link = a.residue is not b.residue and {a.name, b.name} == {"C", "N"}
        if link or (inside and {a.name, b.name} in ({"N", "CA"}, {"CA", "C"})):
            found.add(frozenset((a.index, b.index)))
    return found


def _rotatable(topology: mdtraj.Topology, labels: list[str]) -> list[Torsion]:
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
        residue = topology.atom(b).residue.index
        name = "-".join(topology.atom(i).name for i in atoms)
        found.append(Torsion(f"{name} {labels[residue]}", "bond", residue, atoms))
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
        rad on [-pi, pi]; of a torsion with a symmetry so many times its angle.
    """
    if len(positions) == 0 or not torsions:
        return np.zeros((len(positions), len(torsions)), np.float32)
    # A trajectory of bare atoms: mdtraj's kernel needs positions only, and molecules are whole.
    bare = mdtraj.Trajectory(positions, None)
    indices = np.array([t.atoms for t in torsions])
    angles = mdtraj.compute_dihedrals(bare, indices, periodic=False)
    times = np.array([t.symmetry for t in torsions])
    if (many := times > 1).any():
        turned = times[many] * angles[:, many].astype(float)
        angles[:, many] = np.arctan2(np.sin(turned), np.cos(turned))
    limit = np.float32(3.1415925)  # the largest float32 below pi
    return np.clip(angles, -limit, limit)
