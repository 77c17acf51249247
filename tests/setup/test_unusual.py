"""What people bring by mistake, by the command line: one sentence, status 2, nothing written."""

import gzip
import os
import re
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import XmlSerializer
from typer.testing import CliRunner

from molflow import cli

MOLECULES = Path(__file__).parents[1] / "data/molecules"


def text_of(name):
    return (MOLECULES / name).read_text()


def atoms_of(name):
    return [line for line in text_of(name).splitlines() if line.startswith(("ATOM", "HETATM"))]


TRI, ASPIRIN = MOLECULES / "alanine_tripeptide.pdb", MOLECULES / "aspirin.pdb"
ATOMS, LIGAND = atoms_of(TRI.name), atoms_of(ASPIRIN.name)


def pdb(lines):
    return "\n".join([*lines, "END", ""])


def scaled(lines, factor):
    return pdb([
        line[:30] + "".join(f"{factor * float(line[s : s + 8]):8.3f}" for s in (30, 38, 46))
        + line[54:] for line in lines
    ])  # fmt: skip


def waters(count):
    shape = (("O", 0, 0, 0), ("H1", 0.957, 0, 0), ("H2", -0.24, 0.927, 0))
    return [
        f"HETATM{3 * k + i + 1:5d}  {n:<3} HOH B{k + 1:4d}    {x + 4 * k:8.3f}{y + 20:8.3f}"
        f"{z + 20:8.3f}  1.00  0.00           {n[0]}"
        for k in range(count) for i, (n, x, y, z) in enumerate(shape)
    ]  # fmt: skip


def many_waters(path):
    """100,000 atoms of oxygen on a grid."""
    with open(path, "w") as file:
        for k in range(100_000):
            x, y, z = (3.1 * n for n in (k % 47, k // 47 % 47, k // 2209))
            file.write(
                f"HETATM{k:5d}  O   HOH A{k % 10000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
                "           O\n"
            )


def box(edges="30.000   30.000   30.000", angles="90.00  90.00  90.00"):
    return f"CRYST1   {edges}  {angles} P 1"


def system(change):
    """Aspirin's serialised System, changed."""
    built = XmlSerializer.deserialize(text_of("aspirin_system.xml"))
    change(built)
    return XmlSerializer.serialize(built)


def with_site(built):
    built.addParticle(0.0)
    built.setVirtualSite(21, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    for force in built.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.addParticle(0.0, 1.0, 0.0)


def with_nan(built):
    for force in built.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            a, b, length, _ = force.getBondParameters(0)
            force.setBondParameters(0, a, b, length, float("nan"))


ENTITIES = "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9))
LAUGHS = f'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">{ENTITIES}]><System>&j;</System>'
DRAWN = """
  hand

  2  1  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.1000 O   0  0
  1  2  1  0
M  END
$$$$
"""
MOL2 = """@<TRIPOS>MOLECULE
MOL
    3     2     1     0     0
SMALL
bcc

@<TRIPOS>ATOM
      1 O1           0.0000     0.0000     0.0000 oh         1 MOL      -0.8
      2 H1           0.9600     0.0000     0.0000 ho         1 MOL       0.4
      3 H2          -0.2400     0.9300     0.0000 ho         1 MOL       0.4
@<TRIPOS>BOND
     1    1    2 1
     2    1    3 1
"""
XML = ["--system-xml", "s.xml", "--structure", ASPIRIN]
AMBER = ["--prmtop", "a.prmtop", "--inpcrd", "a.inpcrd"]
PRMTOP, INPCRD = text_of("leucine_dipeptide.prmtop"), text_of("leucine_dipeptide.inpcrd")
CHARMM = ["--psf", "a.psf", "--parameters", "a.prm", "--structure", "a.pdb"]
PSF, PRM, PLACES = (text_of(f"alanine_charmm.{x}") for x in ("psf", "prm", "pdb"))
GROMACS = ["--top", "a.top", "--gro", "a.gro"]
TOP, GRO = (text_of(f"alanine_gromacs.{x}") for x in ("top", "gro"))
LOOP_AT = "_atom_site."
CIF = "data_x\nloop_\n" + "".join(f"{LOOP_AT}{name}\n" for name in (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
    "label_asym_id", "label_seq_id", "auth_seq_id", "Cartn_x", "Cartn_y", "Cartn_z",
    "pdbx_PDB_model_num"))  # fmt: skip
TWO_PLACES = "".join(f"ATOM {k} C CA {'AB'[k]} ALA A 1 1 {k}.0 0.0 0.0 1\n" for k in (0, 1))

#: What is there, the words after `molflow init`, and what the sentence says.
CASES = {
    # files that are no structure
    "compressed": ({"a.pdb": gzip.compress(b"ATOM")}, ["a.pdb"], "gzip: unpack it with gunzip"),
    "UTF-16": ({"a.pdb": text_of(TRI.name).encode("utf-16")}, ["a.pdb"], "save it as UTF-8"),
    "a page of the web": ({"a.pdb": "<html>404</html>"}, ["a.pdb"], "no ATOM or HETATM lines"),
    "free columns": ({"a.pdb": "\n".join(" ".join(x.split()) for x in ATOMS)}, ["a.pdb"],
                     "holds no ATOM or HETATM lines in the columns of a PDB file"),
    "an XYZ file": ({"a.xyz": "2\n\nH 0 0 0\nH 0 0 1\n"}, ["a.xyz"], "without bonds: give an SDF"),
    "a GRO file": ({"a.gro": GRO}, ["a.gro"], "give --top with --gro"),
    "a prmtop": ({}, [MOLECULES / "leucine_dipeptide.prmtop"], "give --prmtop with --inpcrd"),
    "a PSF": ({}, [MOLECULES / "alanine_charmm.psf"], "give --psf with --parameters"),
    "an XML": ({}, [MOLECULES / "aspirin_system.xml"], "as --system-xml with --structure"),
    "a list of SMILES": ({"a.smi": "CCO ethanol\n"}, ["a.smi"], "the text of one as --smiles"),
    "a trajectory": ({"a.dcd": b"T\0\0\0CORD"}, ["a.dcd"], "the trajectory to molflow prepare"),
    "docking's PDB": ({"a.pdbqt": pdb(ATOMS)}, ["a.pdbqt"], "with other columns"),
    "a SMILES as a file": ({}, ["CC(=O)O"], "a SMILES goes with --smiles"),
    "a pipe": ({"a.pdb": os.mkfifo}, ["a.pdb"], "a pipe or device: save it as a file"),
    "a link to itself": ({"a.pdb": lambda path: path.symlink_to(path.name)}, ["a.pdb"],
                         "a link to no file"),
    # PDB and PDBx
    "100,000 atoms": ({"a.pdb": many_waters}, ["a.pdb"], "holds 100,000 atoms, and systems here"),
    "only C-alpha": ({"a.pdb": pdb([x for x in ATOMS if x[12:16].strip() == "CA"])}, ["a.pdb"],
                     "only the C-alpha"),
    "in nanometres": ({"a.pdb": scaled(ATOMS, 0.1)}, ["a.pdb"], "in nanometres where Angstrom"),
    "ten times as large": ({"a.pdb": scaled(ATOMS, 10)}, ["a.pdb"], "the unit of their format"),
    "selenomethionine": ({"a.pdb": pdb([x.replace("ALA", "MSE") for x in ATOMS])}, ["a.pdb"],
                         "MSE is a modified MET, .* make it MET"),
    "deuterium": ({"a.pdb": pdb([x[:76] + " D" if x[76:78] == " H" else x for x in ATOMS])},
                  ["a.pdb"], "is deuterium, and 17 such atoms .* write H"),
    "one number for all": ({"a.pdb": pdb([x[:22] + "   1" + x[26:] for x in ATOMS])}, ["a.pdb"],
                           "number the residues"),
    "atoms without names": ({"a.pdb": pdb([x[:12] + "    " + x[16:] for x in ATOMS])}, ["a.pdb"],
                            "line 1: the atom has no name"),
    "locations in PDBx": ({"a.cif": CIF + TWO_PLACES}, ["a.cif"], "alternate locations A, B"),
    "a PDBx of a ligand": ({"a.cif": "data_x\n_chem_comp.id LIG\n"}, ["a.cif"],
                           "of a ligand its SDF"),
    # water and boxes
    "water without a box": ({"a.pdb": pdb([*ATOMS, "TER", *waters(3)])}, ["a.pdb"],
                            "3 molecules of water and no box"),
    "water alone": ({"a.pdb": pdb([box(), *waters(3)])}, ["a.pdb"], "no solute to learn"),
    "a narrow box": ({"a.pdb": pdb([box("15.000   15.000   15.000"), *ATOMS])},
                     ["a.pdb", "--solvent", "box"], "or take a larger box"),
    "a flat box": ({"a.pdb": pdb([box(angles="10.00  10.00  90.00"), *ATOMS])}, ["a.pdb"],
                   "line 1: the box has the angles .* enclose no volume"),
    "four points of water": (
        {"a.pdb": pdb([box(), *ATOMS, "TER", *waters(1),
                       "HETATM   99  M   HOH B   1       0.100  20.100  20.000  1.00  0.00"
                       "          EP"])}, ["a.pdb"], "virtual sites are not atoms"),
    # where it is to be written
    "out is a file": ({"x": "mine"}, [TRI, "--out", "x"], "which is there already"),
    "out is in a file": ({"x": "mine"}, [TRI, "--out", "x/y"], "choose a place that you may write"),
    "out is too long": ({}, [TRI, "--out", "x" * 300], "has 300 bytes: give one of at most"),
    "out leads nowhere": ({"x": lambda path: path.symlink_to("nowhere")}, [TRI, "--out", "x"],
                          "a link that leads nowhere"),
    "out of two lines": ({}, [TRI, "--out", "a\nb"], "letters that can be seen"),
    # SMILES and drawn molecules
    "a reaction": ({}, ["--smiles", "CC>>CO"], "is a reaction: give one molecule"),
    "an InChI": ({}, ["--smiles", "InChI=1S/CH4/h1H4"], "is an InChI: give the SMILES"),
    "the name of a file": ({}, ["--smiles", "aspirin.smi"], "give its text"),
    "a ring that is not aromatic": ({}, ["--smiles", "c1cccc1"], "kekulize"),
    "five bonds": ({}, ["--smiles", "C(C)(C)(C)(C)C"], "valence .* is greater than permitted"),
    "Greek": ({}, ["--smiles", "CC\u03a9"], "plain ASCII"),
    "isotopes": ({}, ["--smiles", "[2H]CO"], "the isotope 2H"),
    "hydrogen": ({}, ["--smiles", "[H][H]"], "no atom but hydrogen"),
    "an open imine": ({}, ["--smiles", "CC=N"], r"1 double bond open: .* \[H\]/N=C"),
    "two charges": ({}, ["--smiles", "CC(=O)[O-]", "--charge", "0"], "as written has -1"),
    "a radical of even electrons": (
        {}, ["--smiles", "CCO", "--potential", "gfn2-xtb", "--multiplicity", "2"],
        "an odd multiplicity for an even number"),
    "a protein's force field": ({}, ["--smiles", "CCO", "--forcefield", "amber14"],
                                "does not know this molecule: leave it out for GAFF2"),
    "an option of PDB files": ({}, ["--smiles", "CCO", "--model", "2"], "leave model out"),
    "beer": ({}, ["--smiles", "CCO", "--potential", "gfn2-xtb", "--solvent", "beer"],
             "a solvent that ALPB knows"),
    "an atom of a query": ({"a.sdf": DRAWN.replace(" C   0", " A   0")},
                           ["a.sdf", "--add", "hydrogens"], "say which atom it is"),
    "an element of fancy": ({"a.sdf": DRAWN.replace(" C   0", " Zz  0")}, ["a.sdf"],
                            "are elements, valences and coordinates right"),
    "drawn caps": ({"a.sdf": DRAWN}, ["a.sdf", "--add", "caps"], "hydrogens only"),
    "types of a force field": ({"a.mol2": MOL2}, ["a.mol2"], "antechamber -at sybyl"),
    # Systems
    "a barostat": ({"s.xml": system(lambda s: s.addForce(openmm.MonteCarloBarostat(1, 300)))}, XML,
                   "MonteCarloBarostat: take it out"),
    "a thermostat": ({"s.xml": system(lambda s: s.addForce(openmm.AndersenThermostat(300, 1)))},
                     XML, "AndersenThermostat: take it out"),
    "Drude particles": ({"s.xml": system(lambda s: s.addForce(openmm.DrudeForce()))}, XML,
                        "a force field without Drude particles"),
    "virtual sites": ({"s.xml": system(with_site)}, XML, r"particles \[21\] .* are virtual sites"),
    "no mass": ({"s.xml": system(lambda s: s.setParticleMass(3, 0.0))}, XML, "or have no mass"),
    "a constant that is none": ({"s.xml": system(with_nan)}, XML, "see that parameters are num"),
    "a force field": ({"s.xml": "<ForceField></ForceField>"}, XML, "it as --forcefield"),
    "an integrator": ({"s.xml": XmlSerializer.serialize(openmm.VerletIntegrator(0.001))}, XML,
                      "VerletIntegrator: serialise the System"),
    "a System cut off": ({"s.xml": text_of("aspirin_system.xml")[:3000]}, XML,
                         "not a readable XML"),
    "a System that grows": ({"s.xml": LAUGHS}, XML, "not a readable XML file"),
    "atoms in another order": (
        {"b.pdb": "\n".join([*reversed(LIGAND), *(
            x for x in text_of(ASPIRIN.name).splitlines() if x.startswith("CONECT")), "END", ""])},
        ["--system-xml", MOLECULES / "aspirin_system.xml", "--structure", "b.pdb"],
        "disagree on what the atoms are"),
    "a System with constraints": (
        {"s.xml": text_of("aspirin_system.xml")}, [*XML, "--constraints", "HBonds"],
        "constraints is 'HBonds', and system_xml brings its own forces"),
    "a System with a solvent": (
        {"s.xml": text_of("aspirin_system.xml")}, [*XML, "--solvent", "implicit"],
        "solvent is 'implicit', and system_xml brings"),
    # AMBER, CHARMM, GROMACS
    "a prmtop cut off": ({"a.prmtop": PRMTOP[:4000], "a.inpcrd": INPCRD}, AMBER,
                         "it lacks .* whole"),
    "a prmtop cut late": ({"a.prmtop": PRMTOP[:-3000], "a.inpcrd": INPCRD}, AMBER,
                          "they lack 'SCREEN'.*: see that the files are whole"),
    "stars for numbers": (
        {"a.prmtop": PRMTOP, "a.inpcrd": INPCRD.replace(INPCRD.splitlines()[2][:12], "*" * 12)},
        AMBER, "cannot be read as AMBER coordinates"),
    "AMBER's files swapped": ({"a.prmtop": INPCRD, "a.inpcrd": PRMTOP}, AMBER,
                              "cannot be read as AMBER coordinates .* of that format"),
    "two force fields": ({"a.prmtop": PRMTOP, "a.inpcrd": INPCRD},
                         [*AMBER, "--forcefield", "amber14"], "prmtop brings its own forces"),
    "a PSF cut off": ({"a.psf": PSF[:1500], "a.prm": PRM, "a.pdb": PLACES}, CHARMM,
                      "cannot be read as a CHARMM PSF"),
    "parameters missing": (
        {"a.psf": PSF, "a.pdb": PLACES,
         "a.prm": "\n".join(x for x in PRM.splitlines() if x.split()[:1] != ["CT3"])}, CHARMM,
        "a.prm are not enough for 'a.psf' .* --parameters for each"),
    "a PSF with a negative mass": (
        {"a.psf": PSF.replace(" 12.0110 ", "-12.0110 ", 1), "a.prm": PRM, "a.pdb": PLACES}, CHARMM,
        "'.*a.psf' cannot be read as a CHARMM PSF"),
    "no parameters at all": ({"a.psf": PSF, "a.prm": "hello\n", "a.pdb": PLACES}, CHARMM,
                             "are not enough for 'a.psf'"),
    "a PDB of fewer atoms": ({"a.psf": PSF, "a.prm": PRM, "a.pdb": pdb(PLACES.split("\n")[:10])},
                             CHARMM, "22 atoms and 10 positions"),
    "a PDB in another order": (
        {"a.psf": PSF, "a.prm": PRM, "a.pdb": pdb(PLACES.split("\n")[21::-1])}, CHARMM,
        "coordinates are in the order of the atoms"),
    "an include": ({"a.top": f'#include "amber99.ff/forcefield.itp"\n{TOP}', "a.gro": GRO}, GROMACS,
                   "amber99.ff/forcefield.itp.: give --include with the folder"),
    "a part of a topology": ({"a.top": TOP[TOP.index("[ mol") : TOP.index("[ sys")], "a.gro": GRO},
                             GROMACS, "names no molecule with atoms"),
    "no folder to include": ({"a.top": TOP, "a.gro": GRO}, [*GROMACS, "--include", "nowhere"],
                             "include is 'nowhere', no folder"),
    "GRO in Angstrom": (
        {"a.top": TOP, "a.gro": "\n".join(
            x[:20] + "".join(f"{10 * float(x[s : s + 8]):8.3f}" for s in (20, 28, 36))
            if 1 < k < 24 else x for k, x in enumerate(GRO.split("\n")))},
        GROMACS, r"bonds are 1\.\d+ nm long at the median"),
    "a GRO cut off": ({"a.top": TOP, "a.gro": "\n".join(GRO.split("\n")[:10])}, GROMACS,
                      "cannot be read as a GRO file .it ends too early.: is it whole"),
    # numbers
    "absolute zero": ({}, [TRI, "--temperature", "0K"], "'temperature' is 0.0: .* greater than 0"),
    "Celsius": ({}, [TRI, "--temperature", "27C"], "one of the units K"),
    "a step of 100 fs": ({}, [TRI, "--timestep", "100fs"], "up to 5fs; molecules break"),
    "no step": ({}, [TRI, "--timestep", "0fs"], "timestep is '0fs': give a time above 0"),
    "friction below zero": ({}, [TRI, "--friction=-1/ps"], "'friction' is -1"),
    "parsecs": ({}, [TRI, "--friction", "10 parsec"], "one of the units /ps"),
    "heavy hydrogens": ({}, [TRI, "--hydrogen-mass", "50amu"], "'hydrogen_mass' is 50"),
    "a cutoff without a box": ({}, [TRI, "--cutoff", "1nm"], "needs a box: leave it out"),
    "pH 99": ({}, [TRI, "--ph", "99"], "ph is 99: give a pH from 0 to 14"),
    "multiplicity": ({}, [TRI, "--multiplicity", "3"], "force fields have no electrons"),
    "constraints of a potential": ({}, [TRI, "--potential", "gfn2-xtb", "--constraints", "HBonds"],
                                   "a potential knows no such thing"),
}  # fmt: skip


def refused(folder, monkeypatch, verb, files, words, message):
    """The command fails with one sentence of its own and leaves nothing behind."""
    for name, content in files.items():
        path = folder / name
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    out = [] if "--out" in words else ["--out", "made"]
    result = CliRunner().invoke(cli.app, [verb, *map(str, words), *out])
    said = result.stderr.strip()
    assert result.exit_code == 2 and said.startswith("molflow: "), (result.stdout, said)
    assert re.search(message, said), said
    assert len(said.splitlines()) == 1 and len(said) < 700 and "partial" not in said, said
    assert sorted(folder.rglob("*")) == before
    return said


@pytest.mark.parametrize("name", CASES)
def test_init(tmp_path, monkeypatch, name):
    refused(tmp_path, monkeypatch, "init", *CASES[name])


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.pdb").write_text(text_of(TRI.name))
    (tmp_path / "a.pdb").chmod(0)
    if os.access(tmp_path / "a.pdb", os.R_OK):
        pytest.skip("this user may read everything")
    refused(tmp_path, monkeypatch, "init", {}, ["a.pdb"], "cannot read 'a.pdb' .Permission denied")


def test_there_are_forty_and_more():
    assert len(CASES) + len(TRAJECTORIES) >= 100


STATE = ["--temperature", "300K", "--frame-interval", "1ps"]
OF = ["--system", "alanine_dipeptide", "--top", "top.pdb", *STATE]
#: What is there beside `good.dcd`, `top.pdb`, the words after `molflow prepare`, the sentence.
TRAJECTORIES = {
    "of other atoms": ({}, ["good.dcd", *OF[:2], "--top", TRI, *STATE],
                       "22 atoms, and its topology 32"),
    "cut in its head": ({"cut.dcd": b"T\0\0\0CORD" + b"\0" * 40}, ["cut.dcd", *OF], "cut.dcd"),
    "not a trajectory": ({"a.dcd": "hello"}, ["a.dcd", *OF], "a.dcd"),
    "of no known format": ({"a.lammps": "hello"}, ["a.lammps", *OF], "give a file that ends in"),
    "not there": ({}, ["b.dcd", *OF], "there is no ensemble 'b.dcd': check its path"),
    "without a topology": ({}, ["good.dcd", *OF[:2], *STATE], "topology"),
    "of weights too few": ({"w.txt": "1\n" * 9}, ["good.dcd", *OF, "--weights", "w.txt"], "9"),
    "of weights below zero": ({"w.txt": "1\n" * 29 + "-1\n"},
                              ["good.dcd", *OF, "--weights", "w.txt"], "negative"),
    "of weights that are none": ({"w.txt": "nan\n" * 30},
                                 ["good.dcd", *OF, "--weights", "w.txt"], "finite"),
    "of weights of words": ({"w.txt": "heavy\n" * 30},
                            ["good.dcd", *OF, "--weights", "w.txt"], "w.txt"),
    "below zero": ({}, ["good.dcd", *OF[:4], "--temperature=-300K", *STATE[2:]], "-300 K"),
    "of another temperature": ({}, ["good.dcd", *OF[:4], "--temperature", "310K", *STATE[2:]],
                               "310 K, and the system .* 300 K"),
    "with a nonsense interval": ({}, ["good.dcd", *OF[:6], "--frame-interval", "1 mile"],
                                 "write a number with one of the units"),
    "of another system": ({}, ["good.dcd", "--system", "aspirin", "--top", "top.pdb", *STATE],
                          "the atoms of 'aspirin' are not in"),
    "of no system": ({}, ["good.dcd", "--system", "nowhere", "--top", "top.pdb", *STATE],
                     "there is no system 'nowhere'"),
    "a folder that is none": ({"x": Path.mkdir}, ["x"], "no simulation.json"),
    "a folder with a top": ({"x": Path.mkdir}, ["x", "--top", TRI], "is for trajectories"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_prepare(tmp_path, monkeypatch, name):
    from molflow.comparison import find_reference

    reference = find_reference("alanine_dipeptide")
    good = mdtraj.Trajectory(reference.positions[np.arange(30) * 50], reference.topology)
    good.save(str(tmp_path / "good.dcd"))
    good[0].save(str(tmp_path / "top.pdb"))
    refused(tmp_path, monkeypatch, "prepare", *TRAJECTORIES[name])


SIMULATIONS = {
    "no time": ("0ns", [], "time is 0 ps and has to be a positive multiple of 1 ps"),
    "time in light years": ("1 lightyear", [], "which is not a time"),
    "an interval between steps": ("1ns", ["--frame-interval", "1.5fs"],
                                  "frame_interval is .* and has to be"),
    "a ladder that falls": ("1ns", ["--tempering", "300K:200K:4"], "a ladder needs"),
    "a torsion that is none": ("1ns", ["--flatten", "chi7"], "chi7"),
    "a platform of fancy": ("1ns", ["--platform", "Abacus"], "this OpenMM has"),
}


@pytest.mark.parametrize("name", SIMULATIONS)
def test_simulate(tmp_path, monkeypatch, name):
    time, words, message = SIMULATIONS[name]
    words = ["alanine_dipeptide", "--time", time, *words]
    refused(tmp_path, monkeypatch, "simulate", {}, words, message)
