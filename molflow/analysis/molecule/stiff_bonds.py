"""Bonds that do not rotate and yet have two isomers: amides and double bonds, cis or trans."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.graph import neighbours, rings
from molflow.analysis.torsion_list import Torsion, residue_labels, torsion_list


def stiff_torsions(topology: mdtraj.Topology) -> list[tuple[int, int, int, int]]:
    """Return a torsion about every amide bond C(=O)-N and every bond known to be double.

    Double bonds in rings are left out. Outer atoms are heavy where there are any.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds.
    """
    table = neighbours(topology)
    number = [0 if a.element is None else a.element.atomic_number for a in topology.atoms]
    in_ring = {
        frozenset(pair)
        for ring in rings(topology)
        for pair in zip(ring, ring[1:] + ring[:1], strict=True)
    }

    def outer(centre: int, other: int, barred: set[int]) -> list[int]:
        around = [j for j in table[centre] if j != other and j not in barred]
        return sorted(around, key=lambda j: (number[j] == 1, j))

    found = set()
    for bond in topology.bonds:
        ends = bond.atom1.index, bond.atom2.index
        for c, n in (ends, ends[::-1]):
            oxygens = {o for o in table[c] if number[o] == 8 and len(table[o]) == 1}
            if number[c] == 6 and number[n] == 7 and oxygens:
                first, last = outer(c, n, oxygens), outer(n, c, set())
                if first and last:
                    found.add((first[0], c, n, last[0]))
        double = str(bond.type) == "Double" or bond.order == 2
        if double and frozenset(ends) not in in_ring:
            b, c = sorted(ends)
            first, last = outer(b, c, set()), outer(c, b, set())
            if first and last:
                found.add((first[0], b, c, last[0]))
    return sorted(found)


def isomer_torsions(topology: mdtraj.Topology) -> list[Torsion]:
    """Return the torsions that tell cis from trans, without those that `torsion_list` has.

    Bonds whose end carries nothing but hydrogens are left out, since their isomers are the same or
    differ in hydrogens only. They are of the kind ``stiff``; peptide bonds have the name ``omega``
    and the residue of their nitrogen.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds.
    """
    covered = {frozenset(t.atoms[1:3]) for t in torsion_list(topology)}
    labels, atoms = residue_labels(topology), list(topology.atoms)
    found = []
    for four in stiff_torsions(topology):
        outside = [atoms[i].element for i in (four[0], four[3])]
        if frozenset(four[1:3]) in covered or any(e and e.symbol == "H" for e in outside):
            continue
        residue, names = atoms[four[2]].residue.index, [atoms[i].name for i in four]
        peptide = names[1:] == ["C", "N", "CA"] and atoms[four[1]].residue.index != residue
        name = "omega" if peptide else "-".join(names)
        found.append(Torsion(f"{name} {labels[residue]}", "stiff", residue, four))
    return found


def kept_torsions(
    torsions: list[Torsion], angles: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and angles of the torsions that a reference should keep.

    All but stiff ones that are always cis or always trans: of these the limits of sound molecules
    say enough.

    Parameters
    ----------
    torsions : list of Torsion
        Those of `torsion_list`, then those of `isomer_torsions`.
    angles : ndarray, (n, k)
        Of all frames, rad.

    Returns
    -------
    names : tuple of str
    angles : ndarray, (n, kept)
    """
    cis = np.abs(angles) < np.pi / 2
    both = cis.any(axis=0) & ~cis.all(axis=0)
    stiff = np.array([t.kind == "stiff" for t in torsions], bool)
    kept = np.flatnonzero(~stiff | both)
    return tuple(torsions[i].name for i in kept), angles[:, kept]
