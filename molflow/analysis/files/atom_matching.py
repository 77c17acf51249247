"""Which atoms of a reference an ensemble has, by names."""

from __future__ import annotations

from collections import Counter

import mdtraj
import numpy as np

from molflow.errors import MolflowError

#: Names of one residue in different states of protonation or in different force fields.
_SAME = (
    {"HIS", "HID", "HIE", "HIP", "HSD", "HSE", "HSP"}, {"CYS", "CYX", "CYM"}, {"ASP", "ASH"},
    {"GLU", "GLH"}, {"LYS", "LYN"},
)  # fmt: skip


def _by_chain(atom) -> tuple:
    residue = atom.residue
    return (residue.chain.chain_id or "", residue.resSeq, residue.name, atom.name)


def _by_number(atom) -> tuple:
    return (atom.residue.resSeq, atom.residue.name, atom.name)


def _by_order(atom) -> tuple:
    return (atom.residue.index, atom.name)


def match_atoms(topology: mdtraj.Topology, reference: mdtraj.Topology) -> np.ndarray:
    """Return which atom of the reference each atom of an ensemble is, (n_atoms,) int.

    Atoms are told apart by chain, residue number, residue name and atom name; where chains differ
    or are not named without them; and where those differ by the order of the residues and atom
    name, since files made elsewhere may number residues from another start or name them otherwise.
    The order of the atoms may be another.

    Raises
    ------
    MolflowError
        If an atom is not in the reference by residue and name, or the names fit several chains of
        it.
    """
    if [*map(_by_order, topology.atoms)] == [*map(_by_order, reference.atoms)]:
        return np.arange(topology.n_atoms)  # names need not be unique where all agree
    several = False
    for label in (_by_chain, _by_number, _by_order):
        own = [label(atom) for atom in topology.atoms]
        theirs = [label(atom) for atom in reference.atoms]
        if not set(own) <= set(theirs):
            continue
        counts = Counter(theirs)
        if len(set(own)) == len(own) and all(counts[name] == 1 for name in own):
            if label is _by_order and several:
                break
            place = {name: i for i, name in enumerate(theirs)}
            return np.array([place[name] for name in own])
        several = several or label is _by_number
    if several:
        chains = sorted({chain.chain_id or str(chain.index) for chain in reference.chains})
        raise MolflowError(
            f"the names of the ensemble's {topology.n_atoms} atoms fit several chains of the "
            f"reference ({', '.join(chains)}), or several atoms have one name: give a topology "
            "with the reference's chain letters, residue numbers and atom names."
        )
    raise _unknown(topology, reference)


def _unknown(topology: mdtraj.Topology, reference: mdtraj.Topology) -> MolflowError:
    theirs = set(map(_by_number, reference.atoms))
    unknown = [atom for atom in topology.atoms if _by_number(atom) not in theirs]
    first = unknown[0] if unknown else next(topology.atoms)
    return MolflowError(
        f"the ensemble has {topology.n_atoms} atoms and the reference {reference.n_atoms}, and "
        f"{len(unknown)} of the ensemble's are not in the reference, the first being atom "
        f"'{first.name}' of residue {first.residue.name} {first.residue.resSeq}: give the topology "
        "of the same molecule, with the atom names that mdtraj gives to a PDB file."
    )


def matching_notes(
    topology: mdtraj.Topology, reference: mdtraj.Topology, atoms: np.ndarray
) -> list[str]:
    """Return what a reader should know of the match: another order, residues of other names."""
    notes = []
    if np.any(np.diff(atoms) <= 0):
        notes.append("The ensemble's atoms were put in the order of the reference by their names.")
    differ = {}
    for atom, i in zip(topology.atoms, atoms, strict=True):
        own, other = atom.residue, reference.atom(int(i)).residue
        same = own.name == other.name or any({own.name, other.name} <= group for group in _SAME)
        if not same:
            differ[own.index] = f"{own} is {other} in the reference"
    if differ:
        more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
        notes.append(
            f"Residues have other names: {', '.join(list(differ.values())[:5])}{more}. They were "
            "matched by their order; if the sequences differ, these are different molecules."
        )
    return notes
