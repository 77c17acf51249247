"""Conformers of a small molecule and their populations, by distances that know symmetric atoms.

Distances are rdkit's: the least root mean square over all rotations and all exchanges of atoms
that the bond graph cannot tell apart, of heavy atoms and of hydrogens that heteroatoms carry. So
turned methyl groups and flipped phenyl rings are the same conformer, mirror images are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from molflow.analysis.molecule.bond_orders import rdkit
from molflow.analysis.statistics import independent_samples
from molflow.analysis.weighting import part_of, share
from molflow.errors import MolflowError

#: Exchanges of alike atoms that are tried at most.
_EXCHANGES = 2000
#: Heavy atoms and conformers at most.
MOST_HEAVY, MOST = 100, 200


@dataclass(frozen=True)
class Conformer:
    """A conformer.

    Attributes
    ----------
    sample : int
        The conformation whose minimum is the lowest.
    population, low, high : float
        Its share, with the ends of an interval of 95 %.
    free_energy, free_energy_low, free_energy_high : float
        In units of kT, above the most populated one.
    """

    sample: int
    population: float
    low: float
    high: float
    free_energy: float
    free_energy_low: float
    free_energy_high: float


def find_conformers(
    molecule,
    minima: np.ndarray,
    energies: np.ndarray,
    distance: float,
    weights: np.ndarray | None = None,
    worth: float = np.inf,
) -> list[Conformer]:
    """Return the conformers of an ensemble, the most populated first.

    Minima in the order of their energies, each a conformer of its own unless one of lower energy
    is near.

    Parameters
    ----------
    molecule : rdkit.Chem.Mol
        See `molflow.analysis.molecule.bond_orders.with_bond_orders`.
    minima : ndarray, (n, n_atoms, 3)
        Minima of the potential energy that conformations run down to, nm.
    energies : ndarray, (n,)
        Of the minima.
    distance : float
        nm; minima that are nearer are one.
    weights : ndarray, (n,), optional
        Sum to 1.
    worth : float
        Independent conformations that they are at most, where they were drawn by weights.

    Raises
    ------
    MolflowError
        If the molecule is too large, or there are too many conformers.
    """
    from rdkit.Chem import Mol, rdMolAlign

    if molecule.GetNumHeavyAtoms() > MOST_HEAVY:
        raise MolflowError(
            f"the molecule has {molecule.GetNumHeavyAtoms()} heavy atoms, and conformers are told "
            f"of at most {MOST_HEAVY}: molflow compare shows the clusters of larger ones."
        )
    kept = compared_atoms(molecule)
    part = _part(molecule, kept)
    exchanges = alike(part)
    place(part, minima[:, kept])
    known, nearest = Mol(part), np.empty(len(minima), int)
    centres: list[int] = []
    known.RemoveAllConformers()
    for k in np.argsort(energies, kind="stable"):
        away = [
            rdMolAlign.GetBestRMS(part, known, int(k), j, map=exchanges)
            for j in range(len(centres))
        ]
        if not away or min(away) > 10.0 * distance:
            known.AddConformer(part.GetConformer(int(k)), assignId=True)
            away.append(0.0)
            centres.append(int(k))
        if len(centres) > MOST:
            raise MolflowError(
                f"there are more than {MOST} conformers at the distance {10 * distance:g} A: give "
                "a "
                "larger one (--rmsd)."
            )
        nearest[k] = int(np.argmin(away))
    return _ranked(centres, nearest, weights, worth)


def compared_atoms(molecule) -> list[int]:
    """Return the heavy atoms and the hydrogens that others than carbon carry."""
    kept = [
        atom.GetIdx() for atom in molecule.GetAtoms()
        if atom.GetAtomicNum() != 1 or any(n.GetAtomicNum() != 6 for n in atom.GetNeighbors())
    ]  # fmt: skip
    return kept if len(kept) > 2 else list(range(molecule.GetNumAtoms()))


def _part(molecule, kept: list[int]):
    """Return some atoms with their bonds, all single: only who is bonded to whom counts."""
    Chem = rdkit()
    place = {index: k for k, index in enumerate(kept)}
    made = Chem.RWMol()
    for index in kept:
        atom = Chem.Atom(molecule.GetAtomWithIdx(index).GetAtomicNum())
        atom.SetNoImplicit(True)
        # Hydrogens that are left away tell carbons apart.
        atom.SetIsotope(molecule.GetAtomWithIdx(index).GetDegree())
        made.AddAtom(atom)
    for bond in molecule.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if all(end in place for end in ends):
            made.AddBond(*(place[end] for end in ends), Chem.BondType.SINGLE)
    return made.GetMol()


def alike(part) -> list[list[tuple[int, int]]]:
    """Return all exchanges of atoms that leave elements and bonds as they are, as rdkit's maps.

    Raises
    ------
    MolflowError
        If there are too many.
    """
    found = part.GetSubstructMatches(part, uniquify=False, maxMatches=_EXCHANGES + 1)
    if len(found) > _EXCHANGES:
        raise MolflowError(
            f"the molecule has more than {_EXCHANGES} exchanges of alike atoms, too many to try: "
            "molflow compare shows the clusters of such molecules."
        )
    return [list(enumerate(match)) for match in found]


def place(molecule, positions: np.ndarray) -> None:
    """Give a molecule positions (n, n_atoms, 3) in nm as its conformers."""
    from rdkit.Geometry import Point3D

    Chem = rdkit()
    molecule.RemoveAllConformers()
    for xyz in 10.0 * positions.astype(np.float64):
        conformer = Chem.Conformer(len(xyz))
        for k, row in enumerate(xyz):
            conformer.SetAtomPosition(k, Point3D(*row.tolist()))
        molecule.AddConformer(conformer, assignId=True)


def _ranked(
    centres: list[int], nearest: np.ndarray, weights: np.ndarray | None, worth: float
) -> list[Conformer]:
    rows = []
    for k, centre in enumerate(centres):
        members = nearest == k
        independent = min(independent_samples(members, weights=weights), worth)
        rows.append((share(members, weights), independent, centre))
    rows.sort(key=lambda row: -row[0])
    first, count, _ = rows[0]
    found = []
    for rank, (own, n, centre) in enumerate(rows):
        low, high = (beta.ppf(end, own * n + 0.5, (1 - own) * n + 0.5) for end in (0.025, 0.975))
        away = float(np.log(first / own))
        # Of two shares of a multinomial count.
        error = 0.0 if rank == 0 else 1.96 * float(
            np.sqrt(1 / max(first * count, 0.5) + 1 / max(own * n, 0.5)))  # fmt: skip
        found.append(
            Conformer(centre, own, float(low), float(high), away, away - error, away + error)
        )
    return found


def sound(
    positions: np.ndarray, bonds: np.ndarray, hands: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Return which conformations are whole and of the hand of most, (n,) bool, and what to say.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    bonds : ndarray, (m, 2)
        Indices.
    hands : ndarray, (n, k)
        Signs of the stereocentres.
    weights : ndarray, (n,), optional
    """
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]], axis=-1)
    whole = np.isfinite(positions).all(axis=(1, 2)) & (lengths < 0.3).all(axis=1)
    notes = []
    if not whole.any():
        raise MolflowError("no conformation of the ensemble is whole: there are no conformers.")
    if not whole.all():
        notes.append(f"{int((~whole).sum())} conformations are broken and in no conformer.")
    if not hands.shape[1]:
        return whole, notes
    rows, inverse = np.unique(hands[whole], axis=0, return_inverse=True)
    part = part_of(weights, whole)
    most = rows[np.argmax(np.bincount(inverse.ravel(), part))]
    right = whole & (hands == most).all(axis=1)
    if (count := int((whole & ~right).sum())):
        notes.append(
            f"{count} conformations have other hands than most, and are in no conformer: they are "
            "another molecule."
        )
    return right, notes
