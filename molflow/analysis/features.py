"""What is measured of every conformation of one molecule, or of some of its atoms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mdtraj
import numpy as np

from molflow.analysis.geometry import Term, terms
from molflow.analysis.limits import Limits, limits_of
from molflow.analysis.reference import Reference
from molflow.analysis.stereo import shown_stereocentres
from molflow.analysis.torsion_list import Torsion, backbone_pairs, torsion_list


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
        From `molflow.analysis.atom_matching.match_atoms`.
    """
    whole = reference.topology
    place = {int(a): i for i, a in enumerate(atoms)}
    found = torsion_list(whole)
    columns = [i for i, t in enumerate(found) if all(a in place for a in t.atoms)]
    kept = []
    for i in columns:
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
        residues=[str(whole.residue(kept[phi].residue)) for phi, _ in pairs],
        terms=terms(topology),
        limits=limits_of(
            reference.positions[:, atoms], topology,
            shown_stereocentres(whole, reference.positions, atoms),
        ),
    )
