"""Small molecules from SMILES, SDF and MOL2 by rdkit; what is not said is asked, never guessed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from openmm import app

from molflow.errors import MolflowError
from molflow.setup.molecule import Molecule, check_positions, readable_text

#: Heavy atoms beyond which this is not the way to a molecule.
_MOST_HEAVY = 200
#: Isomers that a question lists.
_LISTED = 8
#: Residue name in the structure.
RESIDUE = "MOL"
#: Groups that water at pH 7 mostly ionises, and how they are written then.
_IONISABLE = {
    "a carboxylic acid": ("[CX3](=O)[OX2H1]", "C(=O)[O-]"),
    "an aliphatic amine": ("[NX3;!$(N-C=[O,S,N]);!$(N-a);!$(N-[S,P]=O);!$(N=*)]", "[NH+]"),
    "a phosphate or sulfonic acid": ("[P,S](=O)[OX2H1]", "[O-]"),
    "a guanidine or amidine": ("[NX3][CX3]=[NX2;H1]", "C(=[NH2+])N"),
}


def _rdkit():
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise MolflowError(
            "SMILES, SDF and MOL2 need the package rdkit, which is not installed: "
            "pip install molflow[molecules]."
        ) from error
    rdBase.DisableLog("rdApp.*")  # its remarks on stderr come back as sentences of ours
    return Chem


def from_smiles(text: str, seed: int = 0) -> Molecule:
    """Return the molecule of a SMILES with coordinates.

    Parameters
    ----------
    text : str
        One molecule, with stereocentres and double bonds specified.
    seed : int
        Of the coordinates.

    Raises
    ------
    MolflowError
        If it cannot be read, is not one molecule, leaves stereochemistry open or does not embed.
    """
    Chem = _rdkit()
    name = f"the SMILES '{text if len(text) < 60 else text[:57] + '...'}'"
    molecule = Chem.MolFromSmiles(text) if text.strip() and len(text) < 5000 else None
    if molecule is None:
        raise MolflowError(f"{name} cannot be read: check brackets, rings and valences.")
    return _finished(_checked(molecule, name), name, seed)


def from_file(path: str | Path, *, add_hydrogens: bool = False, seed: int = 0) -> Molecule:
    """Return the molecule of an SDF, MOL or MOL2 file; flat coordinates are made anew.

    Raises
    ------
    MolflowError
        As `from_smiles`; also if the file holds several molecules or lacks hydrogens.
    """
    Chem = _rdkit()
    text, name = readable_text(path, "the molecule"), f"'{path}'"
    if Path(path).suffix.lower() == ".mol2":
        found = text.count("@<TRIPOS>MOLECULE")
        molecule = Chem.MolFromMol2Block(text, removeHs=False) if found == 1 else None
    else:
        blocks = [block for block in text.split("$$$$") if "M  END" in block]
        found = len(blocks)
        molecule = Chem.MolFromMolBlock(blocks[0], removeHs=False) if found == 1 else None
    if found != 1:
        raise MolflowError(f"{name} holds {found} molecules: give a file with one.")
    if molecule is None:
        raise MolflowError(
            f"{name} cannot be read as a molecule: it is cut off, or a valence cannot be."
        )
    missing = sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())
    if missing and not add_hydrogens:
        raise MolflowError(
            f"{name} lacks {missing} hydrogen atoms: give --add hydrogens if they are meant."
        )
    if molecule.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(molecule)
        molecule = Chem.AddHs(molecule, addCoords=True)
        return _finished(_checked(molecule, name), name, seed, keep=True)
    return _finished(_checked(molecule, name), name, seed)


def _checked(molecule, name: str):
    """Return the molecule, or ask what is not said of it."""
    Chem = _rdkit()
    parts = len(Chem.GetMolFrags(molecule))
    if parts != 1:
        raise MolflowError(
            f"{name} holds {parts} molecules (a salt or a complex): give the one that is to be "
            "simulated."
        )
    if molecule.GetNumHeavyAtoms() > _MOST_HEAVY:
        raise MolflowError(
            f"{name} has {molecule.GetNumHeavyAtoms()} heavy atoms, and this way is for small "
            f"molecules of at most {_MOST_HEAVY}: give a PDB."
        )
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise MolflowError(f"{name} has an atom '*' without element: say which atom it is.")
    radicals = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if radicals:
        raise MolflowError(
            f"{name} has {radicals} unpaired electrons: if hydrogens are missing write them; force "
            "fields have no radicals, and for a potential give --structure with --multiplicity."
        )
    _ask_for_stereo(molecule, name)
    return molecule


def _ask_for_stereo(molecule, name: str) -> None:
    """Raise `MolflowError` with the possible isomers if stereochemistry is left open."""
    Chem = _rdkit()
    from rdkit.Chem.EnumerateStereoisomers import (
        EnumerateStereoisomers,
        StereoEnumerationOptions,
    )

    opened = [
        found for found in Chem.FindPotentialStereo(molecule)
        if found.specified == Chem.StereoSpecified.Unspecified
    ]  # fmt: skip
    if not opened:
        return
    options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=_LISTED)
    plain = Chem.RemoveHs(molecule)
    isomers = [Chem.MolToSmiles(isomer) for isomer in EnumerateStereoisomers(plain, options)]
    bonds = sum(found.type == Chem.StereoType.Bond_Double for found in opened)
    what = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((len(opened) - bonds, "stereocentre"), (bonds, "double bond"))
        if count
    ]
    raise MolflowError(
        f"{name} leaves {' and '.join(what)} open: say which isomer is meant, one of "
        f"{', '.join(isomers)}{' ...' if len(isomers) == _LISTED else ''}."
    )


def _questions(molecule) -> list[str]:
    """Return what was taken as written though it might have been meant otherwise."""
    Chem = _rdkit()
    from rdkit.Chem.MolStandardize import rdMolStandardize

    plain = Chem.RemoveHs(molecule)
    notes = [
        f"It has {what}, which was left as written; in water at pH 7 mostly {ionised} is there: "
        "write it so if that is meant."
        for what, (pattern, ionised) in _IONISABLE.items()
        if plain.HasSubstructMatch(Chem.MolFromSmarts(pattern))
    ]
    enumerator = rdMolStandardize.TautomerEnumerator()
    enumerator.SetMaxTautomers(50)
    own = Chem.MolToSmiles(plain)
    others = sorted({Chem.MolToSmiles(t) for t in enumerator.Enumerate(plain)} - {own})
    if others:
        count = f"{len(others)} other tautomer" + ("s" if len(others) > 1 else "")
        notes.append(
            f"Hydrogens stay where they were written ({own}); rdkit's rules know "
            f"{count}, such as {others[0]}."
        )
    return notes


def _finished(molecule, name: str, seed: int, keep: bool = False) -> Molecule:
    """Return the molecule with coordinates, its own if they are to be kept."""
    Chem = _rdkit()
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    notes = _questions(molecule)
    origin = f"SMILES {Chem.MolToSmiles(Chem.RemoveHs(molecule))}"
    if not keep:
        molecule = Chem.AddHs(molecule)
        settings = rdDistGeom.ETKDGv3()
        settings.randomSeed = seed + 1
        settings.maxIterations = 200
        if rdDistGeom.EmbedMolecule(molecule, settings) != 0:
            raise MolflowError(
                f"{name}: no coordinates were found that fit its rings and stereocentres: give a "
                "structure (SDF with coordinates)."
            )
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    topology = app.Topology()
    residue = topology.addResidue(RESIDUE, topology.addChain("A"))
    counts: Counter = Counter()
    atoms = []
    for atom in molecule.GetAtoms():
        symbol = atom.GetSymbol()
        counts[symbol] += 1
        element = app.Element.getBySymbol(symbol)
        atoms.append(topology.addAtom(f"{symbol}{counts[symbol]}", element, residue))
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    positions = 0.1 * np.array(molecule.GetConformer().GetPositions())
    made = Molecule(
        topology, positions, built=not keep, charge=Chem.GetFormalCharge(molecule),
        origin=origin, notes=tuple(notes), source=molecule,
    )  # fmt: skip
    return check_positions(made, name)
