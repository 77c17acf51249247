"""Caps of peptides that CHARMM counts to the residue they are patched on."""

from __future__ import annotations

from dataclasses import replace

from openmm import app

from molflow.setup.molecule import Molecule

#: Atoms of the patches ACE and CT3, their names in residues of their own, and which is the methyl.
_CAPS = {
    "ACE": ({"CAY": "CH3", "CY": "C", "OY": "O"}, "CAY"),
    "NME": ({"NT": "N", "HNT": "H", "CAT": "CH3"}, "CAT"),
}


def apart_from_caps(molecule: Molecule) -> Molecule:
    """Return the molecule with the patches ACE and CT3 as residues ACE and NME, if it has them.

    PDB files know no residue with both, and drop atoms whose names they take for others'. The
    order of atoms stays.
    """
    old = molecule.topology
    names = _names_in_caps(old)
    if not names:
        return molecule
    made = app.Topology()
    made.setPeriodicBoxVectors(old.getPeriodicBoxVectors())
    atoms: list = [None] * old.getNumAtoms()
    for chain in old.chains():
        new_chain, number = made.addChain(chain.id), 0
        for residue in chain.residues():
            part, last = None, None
            for atom in residue.atoms():
                cap, name = names.get(atom.index, (residue.name, atom.name))
                if part is None or cap != last:
                    number += 1
                    part, last = made.addResidue(cap, new_chain, str(number)), cap
                atoms[atom.index] = made.addAtom(name, atom.element, part)
    for bond in old.bonds():
        made.addBond(*(atoms[atom.index] for atom in bond[:2]))
    note = "The patches ACE and CT3 became residues, ACE and NME; residues are renumbered."
    return replace(molecule, topology=made).noted(note)


def _names_in_caps(topology: app.Topology) -> dict[int, tuple[str, str]]:
    """Return residue and name of every atom that belongs to a cap, by index."""
    bonded: dict[int, list] = {atom.index: [] for atom in topology.atoms()}
    for a, b in ((bond[0], bond[1]) for bond in topology.bonds()):
        bonded[a.index].append(b)
        bonded[b.index].append(a)
    found: dict[int, tuple[str, str]] = {}
    for residue in topology.residues():
        here = {atom.name: atom for atom in residue.atoms()}
        for cap, (names, methyl) in _CAPS.items():
            if not names.keys() <= here.keys() or "CA" not in here:
                continue
            found |= {here[name].index: (cap, new) for name, new in names.items()}
            around = sorted(bonded[here[methyl].index], key=lambda atom: atom.index)
            hydrogens = [atom for atom in around if atom.element is app.element.hydrogen]
            found |= {atom.index: (cap, f"HH3{k}") for k, atom in enumerate(hydrogens, 1)}
    return found
