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
#: Letters of a SMILES at most.
_LONGEST = 5000
#: Endings of files that hold molecules.
_FILES = {".smi", ".smiles", ".sdf", ".mol", ".mol2", ".pdb", ".cif", ".xyz", ".txt"}
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


def from_smiles(text: str, seed: int = 0, radicals: bool = False) -> Molecule:
    """Return the molecule of a SMILES with coordinates.

    Parameters
    ----------
    text : str
        One molecule, with stereocentres and double bonds specified.
    seed : int
        Of the coordinates.
    radicals : bool
        Whether unpaired electrons are allowed.

    Raises
    ------
    MolflowError
        If it cannot be read, is not one molecule, leaves stereochemistry open or does not embed.
    """
    Chem = _rdkit()
    text = text.strip()
    name = f"the SMILES '{text if len(text) < 60 else text[:57] + '...'}'"
    for wrong, what in (
        (text.startswith("InChI="), "is an InChI: give the SMILES"),
        (">" in text, "is a reaction: give one molecule"),
        (Path(text[:200]).suffix.lower() in _FILES, "looks like the name of a file: give its text"),
        (len(text) > _LONGEST, f"has {len(text)} letters: give at most {_LONGEST}, or a PDB"),
        (not text.isascii(), "has letters that no SMILES has: write it in plain ASCII"),
    ):
        if wrong:
            raise MolflowError(f"{name} {what}.")
    molecule = Chem.MolFromSmiles(text) if text else None
    if molecule is None:
        raise MolflowError(f"{name} cannot be read{_problem(text)}.")
    return _finished(_checked(molecule, name, radicals), name, seed)


def _problem(text: str) -> str:
    """Return what rdkit finds wrong with a SMILES, in words."""
    Chem = _rdkit()
    raw = Chem.MolFromSmiles(text, sanitize=False) if text else None
    found = [] if raw is None else Chem.DetectChemistryProblems(raw)
    if found:
        return f" ({found[0].Message().strip().rstrip('.')}): correct that"
    return ": check brackets, rings and valences"


def from_file(
    path: str | Path, *, add_hydrogens: bool = False, seed: int = 0, radicals: bool = False
) -> Molecule:
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
        advice = "is it whole, and are elements, valences and coordinates right?"
        if Path(path).suffix.lower() == ".mol2":
            advice = (
                "is it whole, and are its atom types Sybyl's (C.3, N.am)? Those of a force field "
                "(c3, CT) say no elements: write it with antechamber -at sybyl, or give an SDF."
            )
        raise MolflowError(f"{name} cannot be read as a molecule: {advice}")
    missing = sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())
    if missing and not add_hydrogens:
        raise MolflowError(
            f"{name} lacks {missing} hydrogen atoms: give --add hydrogens if they are meant."
        )
    if molecule.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(molecule)
        molecule = Chem.AddHs(molecule, addCoords=True)
        return _finished(_checked(molecule, name, radicals), name, seed, keep=True)
    return _finished(_checked(molecule, name, radicals), name, seed)


def _checked(molecule, name: str, radicals: bool):
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
    if not molecule.GetNumHeavyAtoms():
        raise MolflowError(f"{name} has no atom but hydrogen: give a molecule with others.")
    isotopes = [atom for atom in molecule.GetAtoms() if atom.GetIsotope()]
    if isotopes:
        first = f"{isotopes[0].GetIsotope()}{isotopes[0].GetSymbol()}"
        raise MolflowError(
            f"{name} names the isotope {first}, and isotopes are not told apart here: write the "
            "plain element."
        )
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise MolflowError(f"{name} has an atom '*' without element: say which atom it is.")
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired and not radicals:
        raise MolflowError(
            f"{name} has {unpaired} unpaired electron{'s' if unpaired > 1 else ''}: write the "
            "hydrogens if they are missing; force fields have no radicals, which need --potential "
            f"with --multiplicity {unpaired + 1}."
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
        if found.specified == Chem.StereoSpecified.Unspecified and not _cumulated(molecule, found)
    ]  # fmt: skip
    if not opened:
        return
    options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=_LISTED)
    isomers = [  # hydrogens that say on which side of a C=N they are stay
        Chem.MolToSmiles(Chem.RemoveHs(isomer))
        for isomer in EnumerateStereoisomers(Chem.AddHs(molecule), options)
    ]
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


def _cumulated(molecule, found) -> bool:
    """Return whether a double bond has another next to it, so that its ends are not flat."""
    Chem = _rdkit()
    if found.type != Chem.StereoType.Bond_Double:
        return False
    bond = molecule.GetBondWithIdx(found.centeredOn)
    return any(
        other.GetIdx() != bond.GetIdx() and other.GetBondType() == Chem.BondType.DOUBLE
        for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        for other in atom.GetBonds()
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
