"""Structures of biomolecules: PDB and PDBx/mmCIF, as they are or with missing atoms added."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.setup.molecule import WATER, Molecule, check_positions, described, readable_text
from molflow.setup.pdb_records import one_location, pdbx_models, scan_pdb

#: What `add` may name.
ADDITIONS = ("hydrogens", "atoms", "caps")
#: nm; a longer bond joins what is not next to each other, and where most are, units are others.
_LONGEST_BOND, _USUAL = 0.3, (0.05, 0.25)
#: Modified residues that structures often have, and what they are made of.
_MODIFIED = {"MSE": "MET", "SEP": "SER", "TPO": "THR", "PTR": "TYR", "CSO": "CYS"}
_PDBX = (".cif", ".mmcif", ".pdbx")


def read_structure(
    path: str | Path,
    *,
    model: int | None = None,
    altloc: str | None = None,
    add: Collection[str] = (),
    ph: float = 7.0,
) -> Molecule:
    """Read a PDB or PDBx/mmCIF file.

    Parameters
    ----------
    path : str or Path
    model : int, optional
        Which of several models, from 1.
    altloc : str, optional
        Which of several alternate locations, such as ``"A"``; PDB only.
    add : collection of str
        ``hydrogens``, ``atoms`` (heavy ones that residues lack) and ``caps`` (ACE and NME), by
        pdbfixer.
    ph : float
        Of the hydrogens that are added.

    Raises
    ------
    MolflowError
        If the file cannot be read, is of more than one model or location and none is chosen, or
        bonds are missing or join what is far apart.
    """
    text, name, notes = readable_text(path, "the structure"), f"'{path}'", []
    unknown = sorted(set(add) - set(ADDITIONS))
    if unknown:
        raise MolflowError(f"add is '{unknown[0]}': choose from {', '.join(ADDITIONS)}.")
    if Path(path).suffix.lower() in _PDBX:
        frame, read = pdbx_models(text, name, model), app.PDBxFile
        if altloc is not None:
            raise MolflowError("altloc is for PDB files: leave it out, or convert the file.")
    else:
        found = scan_pdb(text, name)
        notes += found.notes
        text, frame, read = one_location(text, found, name, altloc), 0, app.PDBFile
        if model is not None or found.models > 1:
            frame = _frame(found.models, model, name)
    try:
        if add:
            topology, positions, more = _completed(text, read is app.PDBxFile, set(add), ph)
            notes += more
        else:
            file = read(io.StringIO(text))
            topology = file.topology
            positions = np.array(file.getPositions(asNumpy=True, frame=frame)._value)
    except MolflowError:
        raise
    except Exception as error:  # OpenMM and pdbfixer raise whatever went wrong in a line
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise MolflowError(f"{name} cannot be read as a structure: {reason}.") from error
    molecule = Molecule(topology, positions, origin=f"the structure {Path(path).name}")
    return check_bonds(check_positions(molecule, name), name).noted(*notes)


def _frame(models: int, model: int | None, name: str) -> int:
    if model is None:
        raise MolflowError(
            f"{name} holds {models} models, and a system is one molecule: say which with "
            "--model 1."
        )
    if not 1 <= model <= models:
        raise MolflowError(f"model is {model}, and {name} has the models 1 to {models}.")
    return model - 1


def _completed(text: str, pdbx: bool, add: set[str], ph: float):
    """Return topology, positions and notes of what pdbfixer made of a file."""
    try:
        from pdbfixer import PDBFixer
    except ImportError as error:
        raise MolflowError(
            "adding atoms needs the package pdbfixer, which is not installed: "
            "pip install molflow[molecules]."
        ) from error
    file = io.StringIO(text)
    fixer = PDBFixer(pdbxfile=file) if pdbx else PDBFixer(pdbfile=file)
    before = fixer.topology.getNumAtoms()
    fixer.missingResidues = {}
    if "caps" in add:
        for chain in fixer.topology.chains():
            residues = list(chain.residues())
            peptide = [residue.name in app.PDBFile._standardResidues and any(
                atom.name == "CA" for atom in residue.atoms()) for residue in residues]  # fmt: skip
            if residues and peptide[0]:
                fixer.missingResidues[chain.index, 0] = ["ACE"]
            if residues and peptide[-1]:
                fixer.missingResidues[chain.index, len(residues)] = ["NME"]
    fixer.findMissingAtoms()
    if "atoms" not in add:
        fixer.missingAtoms, fixer.missingTerminals = {}, {}
    heavy = sum(map(len, fixer.missingAtoms.values()))
    fixer.addMissingAtoms(seed=1)
    if "hydrogens" in add:
        fixer.addMissingHydrogens(ph)
    added = fixer.topology.getNumAtoms() - before
    notes = [f"pdbfixer added {added} atoms" + (
        f", {heavy} of them heavy atoms that residues lacked" if heavy else "") + (
        f", hydrogens as at pH {ph:g}." if "hydrogens" in add else ".")]  # fmt: skip
    return fixer.topology, np.array(fixer.positions.value_in_unit(unit.nanometer)), notes


def check_lengths(molecule: Molecule, name: str) -> Molecule:
    """Return the molecule.

    Raises
    ------
    MolflowError
        If a bond is longer than one can be, or all of them are as in other units.
    """
    bonds = [(a, b) for a, b in molecule.topology.bonds()]
    if not bonds or molecule.box is not None:  # boxes cut molecules
        return molecule
    ends = np.array([(a.index, b.index) for a, b in bonds])
    lengths = np.linalg.norm(np.subtract(*molecule.positions[ends.T]), axis=1)
    if len(bonds) > 1 and not _USUAL[0] < np.median(lengths) < _USUAL[1]:
        raise MolflowError(
            f"{name}: bonds are {np.median(lengths):.2f} nm long at the median: see that "
            "coordinates "
            "have the unit of their format (PDB Angstrom, GRO nm) and are those of this molecule, "
            "atom by atom."
        )
    k = int(np.argmax(lengths))
    if lengths[k] > _LONGEST_BOND:
        first, second = map(described, bonds[k])
        raise MolflowError(
            f"{name}: {first} and {second} are bonded and {lengths[k]:.2f} nm apart: see that "
            "coordinates are in the order of the atoms; if residues are missing between them, put "
            "a "
            "TER line there and cap the ends with --add caps."
        )
    return molecule


def _check_whole_residues(molecule: Molecule, name: str) -> None:
    """Raise `MolflowError` where amino acids have only their C-alpha."""
    for residue in molecule.topology.residues():
        names = {atom.name for atom in residue.atoms()}
        if names == {"CA"} and residue.name in app.PDBFile._standardResidues:
            raise MolflowError(
                f"{name}: of {residue.name}{residue.id} there is only the C-alpha, and a force "
                "field needs all atoms: give a structure with all of them."
            )


def check_bonds(molecule: Molecule, name: str) -> Molecule:
    """Return the molecule.

    Raises
    ------
    MolflowError
        If an atom of a larger residue has no bond, or a bond is longer than one can be.
    """
    check_lengths(molecule, name)
    bonded = {atom.index for bond in molecule.topology.bonds() for atom in bond[:2]}
    _check_whole_residues(molecule, name)
    for residue in molecule.topology.residues():
        atoms = list(residue.atoms())
        alone = [atom for atom in atoms if atom.index not in bonded]
        if alone and len(atoms) > 1 and residue.name not in WATER:
            advice = (
                f"add CONECT lines for the residue {residue.name}, or give the molecule as SMILES "
                "or SDF, which say the bonds"
            )
            if residue.name in app.PDBFile._standardResidues:
                advice = "the atom that carries it is missing; --add atoms puts it back"
            elif residue.name in _MODIFIED:
                plain = _MODIFIED[residue.name]
                advice = (
                    f"{residue.name} is a modified {plain}, which force fields do not know: make "
                    "it "
                    f"{plain} (pdbfixer's replaceNonstandardResidues does), or give a --forcefield "
                    "of its own and CONECT lines"
                )
            raise MolflowError(f"{name}: {described(alone[0])} has no bond: {advice}.")
    return molecule
