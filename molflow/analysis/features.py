"""What is measured of every conformation of one molecule, or of some of its atoms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mdtraj
import numpy as np

from molflow.analysis.molecule.geometry import Term, terms
from molflow.analysis.molecule.limits import Limits, limits_of
from molflow.analysis.molecule.stereo import shown_stereocentres
from molflow.analysis.molecule.stiff_bonds import isomer_torsions
from molflow.analysis.reference import Reference
from molflow.analysis.torsion_list import (
    Torsion,
    backbone_pairs,
    residue_labels,
    torsion_list,
)


@dataclass(frozen=True)
class Features:
    """What is measured of a set of atoms.

    Attributes
    ----------
    atoms : ndarray, (n_atoms,) int
        Which atoms of the reference these are.
    topology : mdtraj.Topology
        Of these atoms, with bonds.
    torsions : list of Torsion
        Those of the whole molecule whose atoms are all at hand, in the indices of these atoms.
    columns : ndarray, (len(torsions),) int
        Where they stand among the reference's torsions.
    pairs : ndarray, (residues, 2) int
        Places of phi and psi in `torsions` of every residue that has both.
    residues : list of str
        Names of those residues.
    terms : list of Term
        Bonds, angles and impropers.
    limits : Limits
        Of a sound molecule.
    """

    atoms: np.ndarray
    topology: mdtraj.Topology
    torsions: list[Torsion]
    columns: np.ndarray
    pairs: np.ndarray
    residues: list[str]
    terms: list[Term]
    limits: Limits


def features_of(reference: Reference, atoms: np.ndarray) -> Features:
    """Return what is measured of some atoms of a reference.

    Parameters
    ----------
    reference : Reference
        Its positions, of the runs that are scored against, set the limits of sound molecules.
    atoms : ndarray, (n_atoms,) int
        From `molflow.analysis.files.atom_matching.match_atoms`.
    """
    whole = reference.topology
    labels = residue_labels(whole)
    place = {int(a): i for i, a in enumerate(atoms)}
    found = torsion_list(whole) + isomer_torsions(whole)
    stored = _stored(reference, found)
    at_hand = [i for i, t in enumerate(found) if i in stored and all(a in place for a in t.atoms)]
    columns = [stored[i] for i in at_hand]
    kept = []
    for i in at_hand:
        a, b, c, d = (place[atom] for atom in found[i].atoms)
        kept.append(replace(found[i], atoms=(a, b, c, d)))
    topology = whole.subset(atoms)
    pairs = np.array(backbone_pairs(kept), int).reshape(-1, 2)
    return Features(
        atoms=np.asarray(atoms),
        topology=topology,
        torsions=kept,
        columns=np.array(columns, int),
        pairs=pairs,
        residues=[labels[kept[phi].residue] for phi, _ in pairs],
        terms=terms(topology),
        limits=limits_of(
            reference.positions[:, atoms], topology,
            shown_stereocentres(whole, reference.positions, atoms),
        ),
    )


def _stored(reference: Reference, found: list[Torsion]) -> dict[int, int]:
    """Return at which place of the reference each torsion stands, of those that it has."""
    names = [torsion.name for torsion in found]
    # A reference of another version may have been made with fewer torsions.
    place = {name: i for i, name in enumerate(reference.torsion_names)}
    return {i: place[name] for i, name in enumerate(names) if name in place}
