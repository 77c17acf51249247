"""Malformed and unusual molecules: one sentence, status 2, nothing written."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from molflow import cli
from molflow.setup import structures
from molflow.setup.molecule import MOST_ATOMS

MOLECULES = Path(__file__).parents[1] / "data/molecules"
TRIPEPTIDE = (MOLECULES / "alanine_tripeptide.pdb").read_text()
ATOMS = [line for line in TRIPEPTIDE.splitlines() if line.startswith(("ATOM", "HETATM"))]


def pdb(lines):
    return "\n".join([*lines, "END", ""])


def changed(index, start, text):
    """The tripeptide with some columns of the line of one atom replaced."""
    line = ATOMS[index].ljust(80)
    line = line[:start] + text + line[start + len(text):]
    return pdb([*ATOMS[:index], line, *ATOMS[index + 1:]])


def column(name):
    return next(k for k, line in enumerate(ATOMS) if line[12:16].strip() == name)


METAL = "HETATM   99 ZN    ZN B   9      30.000  30.000  30.000  1.00  0.00          ZN"
LIGAND = [
    "HETATM    1  C1  LIG A   1       0.000   0.000   0.000  1.00  0.00           C",
    "HETATM    2  C2  LIG A   1       1.500   0.000   0.000  1.00  0.00           C",
]
FAR = [line[:22] + f"{int(line[22:26]) + 10:4d}" + line[26:30] + f"{float(line[30:38]) + 40:8.3f}"
       + line[38:] for line in ATOMS if "ALA" in line]  # fmt: skip

STRUCTURES = {
    "nothing in it": ("", "is empty"),
    "not text": ("\0\1\2" * 100, "not a text file"),
    "no atoms": ("HEADER    NOTHING\nEND\n", "no ATOM or HETATM lines"),
    "another file": ("import os\n" * 50, "no ATOM or HETATM lines"),
    "a line cut off": (pdb([*ATOMS[:10], ATOMS[10][:40]]), "line 11: the line of an atom is cut"),
    "cut at a line": (pdb(ATOMS[:20]), "cannot be applied"),
    "stars": (changed(3, 30, "********"), "line 4: the coordinates"),
    "not a number": (changed(3, 30, "     nan"), "atom 4 .* is not a finite number"),
    "infinite": (changed(3, 30, "     inf"), "atom 4 .* is not a finite number"),
    "unknown residue": (pdb([line.replace("ALA", "XYZ") for line in ATOMS]), "has no bond"),
    "a ligand without bonds": (pdb(LIGAND), "has no bond: add CONECT lines"),
    "heavy atom missing": (pdb([x for x in ATOMS if x[12:16].strip() != "CB"]), "--add atoms"),
    "no hydrogens": (pdb([x for x in ATOMS if x[76:78].strip() != "H"]), "--add hydrogens"),
    "an atom twice": (pdb([*ATOMS[:5], ATOMS[4], *ATOMS[5:]]), "is there already in line 5"),
    "two atoms in a place": (changed(9, 30, ATOMS[8][30:54]), "are in the same place"),
    "all at the origin": (
        pdb([f"{x[:30]}{'   0.000' * 3}{x[54:]}" for x in ATOMS]), "are in the same place"),
    "wrong element": (changed(column("CB"), 76, " N"), "cannot be applied"),
    "no such element": (changed(column("CB"), 76, "Qq"), "line 11: the element Qq does not exist"),
    "two models": (
        pdb(["MODEL        1", *ATOMS, "ENDMDL", "MODEL        2", *ATOMS, "ENDMDL"]),
        "holds 2 models"),
    "alternate locations": (
        pdb([*ATOMS[:4], *(f"{ATOMS[4][:16]}{x}{ATOMS[4][17:]}" for x in "AB"), *ATOMS[5:]]),
        "alternate locations A, B"),
    "a metal ion": (pdb([*ATOMS, "TER", METAL]), "or ions: take them out|cannot be applied"),
    "a box without size": (
        pdb(["CRYST1    0.000    0.000    0.000  90.00  90.00  90.00 P 1", *ATOMS]),
        "line 1: the box has the edges"),
    "a box of letters": (
        pdb(["CRYST1   abc.000   10.000   10.000  90.00  90.00  90.00 P 1", *ATOMS]),
        "line 1: the box cannot be read"),
    "a gap in the chain": (pdb([*ATOMS[:-6], *FAR]), "are bonded and .* nm apart"),
}  # fmt: skip


def refused(folder, words, message):
    """The command fails with one sentence and leaves nothing behind."""
    import re

    before = sorted(folder.rglob("*"))
    result = CliRunner().invoke(cli.app, ["init", *map(str, words), "--out", str(folder / "made")])
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert re.search(message, result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and len(result.stderr) < 900
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(tmp_path, name):
    text, message = STRUCTURES[name]
    (tmp_path / "given.pdb").write_text(text)
    refused(tmp_path, [tmp_path / "given.pdb"], message)


def test_files_that_are_none(tmp_path):
    refused(tmp_path, [tmp_path], "a folder: give a file")
    refused(tmp_path, [tmp_path / "absent.pdb"], "which is not there")
    refused(tmp_path, ["https://files.rcsb.org/download/1L2Y.pdb"], "download the file")
    (tmp_path / "x.cif").write_text("data_x\nloop_\n_other.id\n1\n")
    refused(tmp_path, [tmp_path / "x.cif"], "is not a readable PDBx/mmCIF file with atoms")


def test_too_many_atoms(tmp_path, monkeypatch):
    from molflow.setup import molecule

    monkeypatch.setattr(molecule, "MOST_ATOMS", 20)
    (tmp_path / "given.pdb").write_text(pdb(ATOMS))
    refused(tmp_path, [tmp_path / "given.pdb"], "holds 32 atoms, and systems here have at most 20")
    assert MOST_ATOMS < 100_000 and structures.ADDITIONS


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "given.pdb").write_text(pdb(ATOMS))
    (tmp_path / "made").mkdir()
    (tmp_path / "made/notes.txt").write_text("mine")
    refused(tmp_path, [tmp_path / "given.pdb"], "which is there already")


SMILES = {
    "brackets": ("CC(=O", "cannot be read"),
    "valence": ("C(C)(C)(C)(C)C", "cannot be read"),
    "empty": (" ", "cannot be read"),
    "no SMILES": ("aspirin!", "cannot be read"),
    "a salt": ("CC(=O)[O-].[Na+]", "holds 2 molecules"),
    "a radical": ("C[CH2]", "1 unpaired electron: .* --multiplicity 2"),
    "any atom": ("C*C", r"atom '\*'"),
    "an open stereocentre": ("CC(O)F", r"1 stereocentre open: .* C\[C@H\]\(O\)F, C\[C@@H\]"),
    "an open double bond": ("CC=CC", "1 double bond open"),
    "no coordinates": ("C1#CC1", "no coordinates were found|cannot be read|GAFF2|antechamber"),
    "an element without parameters": ("C[Si](C)(C)C", "GAFF2 has no parameters for Si"),
    "too large": ("C" * 300, "300 heavy atoms"),
}


@pytest.mark.parametrize("name", SMILES)
def test_smiles(tmp_path, name):
    text, message = SMILES[name]
    refused(tmp_path, ["--smiles", text], message)


def test_a_charge_that_does_not_fit(tmp_path):
    words = ["--charge", 1, "--solvent", "vacuum"]
    refused(tmp_path, [MOLECULES / "alanine_tripeptide.pdb", *words], "add up to -?[0-9.e-]+")
    xtb = ["--potential", "gfn2-xtb", "--charge", 1]
    refused(tmp_path, [MOLECULES / "aspirin.pdb", *xtb], "electrons with the charge 1")


SEQUENCES = {
    "unknown letter": ("ACDX", "the letter X"),
    "small letters": ("acde", "small letters"),
    "unknown name": ("ACE-XYZ-NME", "names the residue XYZ"),
    "cap inside": ("ALA-ACE-NME", "in the wrong place"),
    "cap at the wrong end": ("NME-ALA-ACE", "in the wrong place"),
    "caps only": ("ACE-NME", "0 residues"),
    "nothing": ("-", "0 residues"),
    "one bare residue": ("ALA", "two charged ends"),
    "half a disulfide": ("ACE-CYX-NME", "disulfide"),
    "too long": ("A" * 200, "200 residues"),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(tmp_path, name):
    text, message = SEQUENCES[name]
    refused(tmp_path, ["--sequence", text], message)


def test_inputs_that_do_not_go_together(tmp_path):
    tri = MOLECULES / "alanine_tripeptide.pdb"
    system, aspirin = MOLECULES / "aspirin_system.xml", MOLECULES / "aspirin.pdb"
    prmtop, crd = (MOLECULES / f"leucine_dipeptide.{x}" for x in ("prmtop", "inpcrd"))
    for words, message in (
        ([], "nothing is given"),
        ([tri, "--sequence", "GG"], "sequence and molecule is given"),
        (["--system-xml", system], "neither atoms' names nor coordinates"),
        (["--system-xml", system, "--structure", tri], "has 21 particles and .* 32 atoms"),
        (["--system-xml", aspirin, "--structure", aspirin], "not a readable XML file"),
        (["--prmtop", prmtop], "give --inpcrd"),
        (["--prmtop", crd, "--inpcrd", crd], "cannot be read as an AMBER topology"),
        (["--prmtop", prmtop, "--inpcrd", prmtop], "cannot be read as AMBER coordinates"),
        (["--psf", prmtop], "give --parameters"),
        (["--top", prmtop], "give --gro"),
        ([tri, "--inpcrd", crd], "inpcrd does not go with molecule"),
        ([tri, "--forcefield", "amber23"], "forcefield is 'amber23': choose one of amber14"),
        ([tri, "--potential", "gfn9"], "gfn9"),
        ([tri, "--potential", "gfn2-xtb", "--forcefield", "amber14"], "are both given"),
        ([tri, "--solvent", "box"], "brings none"),
        ([tri, "--solvent", "beer"], "choose one of implicit"),
        ([tri, "--add", "wings"], "add is 'wings'"),
        ([tri, "--model", 3], "has the models 1 to 1"),
        ([tri, "--altloc", "Q"], "no alternate locations"),
        ([tri, "--timestep", "4 apples"], "not a time"),
        ([tri, "--temperature", "-3K"], "'temperature' is -3"),
        ([tri, "--pressure", "1bar"], "pressure needs a box"),
        ([tri, "--constraints", "some"], "choose none or HBonds"),
    ):
        refused(tmp_path, words, message)


def test_coordinates_of_another_molecule(tmp_path):
    lines = (MOLECULES / "leucine_dipeptide.inpcrd").read_text().splitlines()
    (tmp_path / "short.inpcrd").write_text("\n".join([lines[0], "    4", *lines[2:4]]) + "\n")
    given = ["--prmtop", MOLECULES / "leucine_dipeptide.prmtop"]
    refused(tmp_path, [*given, "--inpcrd", tmp_path / "short.inpcrd"], "31 atoms and 4 positions")


DRAWN = """
  hand

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 O   0  0
  1  2  1  0
M  END
"""


def test_drawn_molecules(tmp_path):
    (tmp_path / "bare.sdf").write_text(DRAWN + "$$$$\n")
    refused(tmp_path, [tmp_path / "bare.sdf"], "lacks 4 hydrogen atoms: give --add hydrogens")
    (tmp_path / "two.sdf").write_text((DRAWN + "$$$$\n") * 2)
    refused(tmp_path, [tmp_path / "two.sdf"], "holds 2 molecules")
    (tmp_path / "cut.sdf").write_text(DRAWN[:60])
    refused(tmp_path, [tmp_path / "cut.sdf"], "holds 0 molecules")
    shutil.copy(MOLECULES / "aspirin.pdb", tmp_path / "wrong.mol2")
    refused(tmp_path, [tmp_path / "wrong.mol2"], "holds 0 molecules")


def test_packages_that_are_absent_are_named(tmp_path, monkeypatch):
    import sys

    for package, words in (("rdkit", ["--smiles", "CCO"]), ("pdbfixer", [
        MOLECULES / "alanine_tripeptide.pdb", "--add", "caps"])):  # fmt: skip
        monkeypatch.setitem(sys.modules, package, None)
        refused(tmp_path, words, f"{package}, which is not installed: pip install")
    monkeypatch.setattr("molflow.setup.ambertools.shutil.which", lambda _: None)
    monkeypatch.setattr("molflow.setup.ambertools.sys.executable", "/nowhere/python")
    refused(tmp_path, ["--sequence", "ACE-GLY-NME"], "needs tleap of AmberTools")
