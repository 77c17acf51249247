"""Folders of systems from molecules as people have them."""

import shutil
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
import yaml
from openmm import app, unit
from typer.testing import CliRunner

from molflow import cli
from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.foreign_trajectories import atom_order
from molflow.md.build import build
from molflow.md.energies import potential_energies
from molflow.setup import understanding
from molflow.setup.init import init
from molflow.systems import built_in_systems, load_system

MOLECULES = Path(__file__).parents[1] / "data/molecules"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No time is spent on measuring the speed of every platform."""
    monkeypatch.setattr(understanding, "fastest_platform", lambda _: ("CPU", {"CPU": 1000.0}))


def energy_of(built, positions):
    context = openmm.Context(
        built, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


def test_a_pdb(tmp_path):
    found = init(MOLECULES / "alanine_tripeptide.pdb", tmp_path / "tri")
    assert (found["atoms"], found["bonds"], found["residues"]) == (
        32, 31, ["ACE", "ALA", "ALA", "NME"]
    )  # fmt: skip
    assert found["torsions"] == ["phi ALA2", "phi ALA3", "psi ALA2", "psi ALA3"]
    assert found["stereocentres"] == ["ALA2-CA", "ALA3-CA"]
    assert found["charge"] == pytest.approx(0, abs=1e-6)
    assert found["text"].startswith("tri: 32 atoms, 1 chain, 4 residues (ACE-ALA-ALA-NME), 31")
    system = load_system(tmp_path / "tri")
    assert system.forcefield == ["amber14-all.xml", "implicit/obc2.xml"]
    assert sorted(p.name for p in (tmp_path / "tri").iterdir()) == [
        "README.md", "structure.pdb", "system.yaml",
    ]  # fmt: skip
    pdb = app.PDBFile(str(MOLECULES / "alanine_tripeptide.pdb"))
    built = app.ForceField("amber14-all.xml", "implicit/obc2.xml").createSystem(pdb.topology)
    expected = energy_of(built, pdb.positions)
    assert found["energy"] == pytest.approx(expected, abs=0.05)


def test_a_sequence_is_built_with_the_right_hand(tmp_path):
    found = init(out=tmp_path / "trp", sequence="ACE-TRP-NME")
    assert found["torsions"] == ["phi", "psi", "chi1 TRP2", "chi2 TRP2"] and found["atoms"] == 36
    system = load_system(tmp_path / "trp")
    l_alanine = load_system("alanine_dipeptide")
    for made in (system, l_alanine):
        topology = made.topology()
        names = {a.name: a.index for a in topology.residue(1).atoms}
        around = [(names["CA"], names["N"], names["C"], names["CB"])]
        assert handedness(made.start_positions()[None], around)[0, 0] > 0
    assert found["largest_force"] < 100


def test_one_letter_codes_are_the_same_molecule(tmp_path):
    found = init(out=tmp_path / "one", sequence="GA")
    assert found["residues"] == ["GLY", "ALA"] and "begins with a charged GLY" in found["text"]


def test_a_smiles_under_gaff(tmp_path):
    """Ethanol, whose GAFF2 parameters are known to be near those of AMBER's serine side chain."""
    found = init(out=tmp_path / "ethanol", smiles="CCO", solvent="vacuum")
    assert (found["atoms"], found["bonds"], found["torsions"]) == (9, 8, [])
    assert found["charge"] == pytest.approx(0, abs=1e-9)
    system = load_system(tmp_path / "ethanol")
    built, _ = build(system)
    charges = next(
        [f.getParticleParameters(k)[0]._value for k in range(9)]
        for f in built.getForces() if isinstance(f, openmm.NonbondedForce)
    )  # fmt: skip
    # AM1-BCC of ethanol: Jakalian et al., J. Comput. Chem. 23, 1623 (2002): about -0.6 and +0.4.
    assert charges[2] == pytest.approx(-0.60, abs=0.03)
    assert max(charges) == pytest.approx(0.40, abs=0.03)


def test_a_serialised_system_keeps_its_energy(tmp_path):
    found = init(
        out=tmp_path / "aspirin", system_xml=MOLECULES / "aspirin_system.xml",
        structure=MOLECULES / "aspirin.pdb",
    )  # fmt: skip
    built = openmm.XmlSerializer.deserialize((MOLECULES / "aspirin_system.xml").read_text())
    pdb = app.PDBFile(str(MOLECULES / "aspirin.pdb"))
    assert found["energy"] == pytest.approx(energy_of(built, pdb.positions), abs=0.01)
    assert found["stereocentres"] == [] and len(found["torsions"]) == 3


def test_amber_files(tmp_path):
    given = {name: MOLECULES / f"leucine_dipeptide.{name}" for name in ("prmtop", "inpcrd")}
    found = init(out=tmp_path / "leu", solvent="vacuum", **given)
    prmtop = app.AmberPrmtopFile(str(given["prmtop"]))
    crd = app.AmberInpcrdFile(str(given["inpcrd"]))
    rounded = np.round(crd.getPositions(asNumpy=True)._value, 4)  # as a PDB file does
    assert found["energy"] == pytest.approx(energy_of(prmtop.createSystem(), rounded), abs=0.01)
    assert found["torsions"] == ["phi", "psi", "chi1 LEU2", "chi2 LEU2"]


def test_gromacs_files(tmp_path):
    """Two atoms of argon bound by a spring, written by hand."""
    (tmp_path / "a.top").write_text(
        "[ defaults ]\n1 2 no 1.0 1.0\n[ atomtypes ]\nAR 18 39.948 0.0 A 0.34 0.9977\n"
        "[ moleculetype ]\nDIM 1\n[ atoms ]\n1 AR 1 DIM AR1 1 0.0 39.948\n"
        "2 AR 1 DIM AR2 2 0.0 39.948\n[ bonds ]\n1 2 1 0.2 1000.0\n[ system ]\nx\n"
        "[ molecules ]\nDIM 1\n"
    )
    (tmp_path / "a.gro").write_text(
        "x\n2\n    1DIM    AR1    1   0.000   0.000   0.000\n"
        "    1DIM    AR2    2   0.250   0.000   0.000\n   0.0 0.0 0.0\n"
    )
    found = init(out=tmp_path / "dimer", top=tmp_path / "a.top", gro=tmp_path / "a.gro")
    assert found["energy"] == pytest.approx(0.5 * 1000 * 0.05**2, rel=1e-6)
    assert "bring no implicit solvent" in found["text"] and found["torsions"] == []


def test_charmm_files(tmp_path):
    """The same pair in CHARMM's files: bonds are k (r - r0)^2 in kcal/mol and Angstrom."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("DIM", topology.add_chain(), resSeq=1)
    pair = [topology.add_atom(f"AR{k}", mdtraj.element.argon, residue) for k in (1, 2)]
    topology.add_bond(*pair)
    xyz = np.array([[[0.0, 0.0, 0.0], [0.25, 0.0, 0.0]]])
    mdtraj.Trajectory(xyz, topology).save_pdb(str(tmp_path / "a.pdb"))
    atoms = "".join(
        f"{k:8d} SEG  1    DIM  AR{k}  AR   0.000000       39.9480           0\n" for k in (1, 2)
    )
    rest = "".join(f"{0:8d} !{name}\n\n" for name in (
        "NTHETA: angles", "NPHI: dihedrals", "NIMPHI: impropers", "NDON: donors",
        "NACC: acceptors", "NNB"))  # fmt: skip
    (tmp_path / "a.psf").write_text(
        f"PSF\n\n       1 !NTITLE\n REMARKS hand\n\n       2 !NATOM\n{atoms}\n"
        f"       1 !NBOND: bonds\n       1       2\n\n{rest}"
    )
    (tmp_path / "a.prm").write_text(
        "* hand\n*\nATOMS\nMASS 1 AR 39.948\n\nBONDS\nAR AR 10.0 2.0\n\n"
        "NONBONDED nbxmod 5 atom cdiel\nAR 0.0 -0.2385 1.9\n\nEND\n"
    )
    found = init(
        out=tmp_path / "dimer", psf=tmp_path / "a.psf", parameters=[tmp_path / "a.prm"],
        structure=tmp_path / "a.pdb",
    )  # fmt: skip
    assert found["energy"] == pytest.approx(10.0 * 0.5**2 * 4.184, rel=1e-6)


def test_a_real_psf_keeps_its_energy_and_has_a_backbone(tmp_path):
    """ALA with the patches ACE and CT3 under CHARMM36; OpenMM's own port of it is the judge."""
    files = {name: MOLECULES / f"alanine_charmm.{name}" for name in ("psf", "prm", "pdb")}
    found = init(
        out=tmp_path / "ala", psf=files["psf"], parameters=[files["prm"]], solvent="vacuum",
        structure=files["pdb"],
    )  # fmt: skip
    assert found["residues"] == ["ACE", "ALA", "NME"] and found["torsions"] == ["phi", "psi"]
    assert (found["atoms"], found["bonds"]) == (22, 21) and found["charge"] == pytest.approx(0)
    pdb = app.PDBFile(str(load_system("alanine_dipeptide").structure_path))
    built = app.ForceField("charmm36_2024.xml").createSystem(pdb.topology)
    assert found["energy"] == pytest.approx(energy_of(built, pdb.positions), abs=0.05)
    # A trajectory with the names of the PSF is of the same atoms.
    names = mdtraj.load_topology(str(files["psf"]))
    wanted = load_system(tmp_path / "ala").topology()
    assert np.array_equal(atom_order(names, wanted, "psf", "ala"), np.arange(22))


def test_a_real_gromacs_topology_keeps_its_energy(tmp_path):
    """Amber99SB-ILDN as GROMACS writes it, judged by OpenMM's own files of that force field."""
    files = {name: MOLECULES / f"alanine_gromacs.{name}" for name in ("top", "gro")}
    found = init(out=tmp_path / "ala", solvent="vacuum", **files)
    assert found["residues"] == ["ACE", "ALA", "NME"] and found["torsions"] == ["phi", "psi"]
    pdb = app.PDBFile(str(load_system("alanine_dipeptide").structure_path))
    built = app.ForceField("amber99sbildn.xml").createSystem(pdb.topology)
    rounded = app.GromacsGroFile(str(files["gro"])).positions
    assert found["energy"] == pytest.approx(energy_of(built, rounded), abs=1e-3)


def test_files_as_other_machines_write_them(tmp_path):
    """Mac's and Windows' ends of lines, a mark of byte order, letters of Latin-1."""
    text = (MOLECULES / "alanine_tripeptide.pdb").read_bytes()
    for k, data in enumerate((
        text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + text,
        "REMARK M\u00fcller\n".encode("latin-1") + text,
    )):  # fmt: skip
        (tmp_path / f"{k}.pdb").write_bytes(data)
        assert init(tmp_path / f"{k}.pdb", tmp_path / f"{k}")["atoms"] == 32


def test_stereochemistry_that_is_none_is_not_asked_about(tmp_path):
    """An allene's ends are not flat; of an imine both isomers can be written."""
    assert init(out=tmp_path / "allene", smiles="CC=C=CC", potential="gfn2-xtb")["atoms"] == 13
    imine = init(out=tmp_path / "imine", smiles="[H]/N=C/C", potential="gfn2-xtb")
    assert imine["atoms"] == 8


def test_a_radical_has_a_potential_and_a_multiplicity(tmp_path):
    made = {"out": tmp_path / "ethyl", "smiles": "C[CH2]", "potential": "gfn2-xtb"}
    found = init(**made, multiplicity=2)
    assert found["atoms"] == 7
    assert load_system(tmp_path / "ethyl").potential.multiplicity == 2


def test_a_drawn_molecule_keeps_its_coordinates(tmp_path):
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    drawn = Chem.AddHs(Chem.MolFromSmiles("C[C@H](O)F"))
    rdDistGeom.EmbedMolecule(drawn, randomSeed=7)
    Chem.MolToMolFile(drawn, str(tmp_path / "a.sdf"))
    init(tmp_path / "a.sdf", tmp_path / "a", potential="gfn2-xtb")
    system = load_system(tmp_path / "a")
    expected = 0.1 * np.array(drawn.GetConformer().GetPositions())
    assert np.abs(system.start_positions() - expected).max() < 2e-4
    assert len(stereocentres(system.topology())) == 1


def test_a_potential_in_place_of_a_force_field(tmp_path):
    found = init(MOLECULES / "aspirin.pdb", tmp_path / "aspirin", potential="gfn2-xtb", charge=0)
    assert found["energy"] < -1e5 and found["charge"] == 0
    assert load_system(tmp_path / "aspirin").potential.version is not None


def test_hydrogens_and_caps_are_added_on_request(tmp_path):
    whole = mdtraj.load(str(MOLECULES / "alanine_tripeptide.pdb"))
    bare = whole.atom_slice(whole.topology.select("resname ALA and element != H"))
    bare.save_pdb(str(tmp_path / "bare.pdb"))
    found = init(tmp_path / "bare.pdb", tmp_path / "tri", add=("hydrogens", "caps"))
    assert found["residues"] == ["ACE", "ALA", "ALA", "NME"] and found["atoms"] == 32
    assert "pdbfixer added 22 atoms" in found["text"]


def water_box(path, waters=True):
    """Alanine dipeptide and, on a grid, water, in a box of 2 nm."""
    system = load_system("alanine_dipeptide")
    modeller = app.Modeller(
        app.PDBFile(str(system.structure_path)).topology,
        [openmm.Vec3(*p) for p in system.start_positions() + 0.6] * unit.nanometer,
    )
    if waters:
        water = app.PDBFile(str(Path(app.__file__).with_name("data") / "tip3p.pdb"))
        own = [a.index for a in water.topology.atoms()][:30]
        shifted = app.Modeller(water.topology, water.positions)
        shifted.delete([a for a in water.topology.atoms() if a.index not in own])
        modeller.add(shifted.topology, [
            openmm.Vec3(*p) for p in
            np.array([
                np.array([0.3 * (k // 3), 1.7, 1.7]) + 0.1 * np.eye(3)[k % 3] for k in range(30)
            ])
        ] * unit.nanometer)  # fmt: skip
    modeller.topology.setPeriodicBoxVectors(np.eye(3) * 3.0 * unit.nanometer)
    with open(path, "w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)


def test_a_box_of_water_learns_its_solute(tmp_path):
    water_box(tmp_path / "box.pdb")
    found = init(tmp_path / "box.pdb", tmp_path / "box", cutoff="0.8nm")
    system = load_system(tmp_path / "box:solute")
    assert system.nonbonded_method == "PME" and system.nonbonded_cutoff == 0.8
    assert system.atoms == list(range(22)) and system.topology().n_atoms == 22
    assert (system.timestep, system.hydrogen_mass, system.constraints) == (4.0, 3.0, "HBonds")
    assert "with 10 molecules of water is kept" in found["text"]
    assert found["constraints"] == 12 + 30
    built, _ = build(system)
    assert built.getDefaultPeriodicBoxVectors()[0][0]._value == pytest.approx(3.0)


def test_a_box_without_water_is_asked_about(tmp_path):
    water_box(tmp_path / "box.pdb", waters=False)
    result = invoke("init", tmp_path / "box.pdb", "--out", tmp_path / "box")
    assert result.exit_code == 2 and "no water in it: give --solvent box if" in result.stderr
    found = init(tmp_path / "box.pdb", tmp_path / "box", solvent="implicit")
    assert "The box was dropped." in found["text"]
    assert "CRYST1" not in (tmp_path / "box/structure.pdb").read_text()


def invoke(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_the_command_line_writes_the_recipe(tmp_path, monkeypatch):
    words = ["init", "--sequence", "ACE-GLY-NME", "--out", str(tmp_path / "gly")]
    monkeypatch.setattr("sys.argv", ["molflow", *words])
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    assert "no stereocentre" in result.stdout and "Next: molflow simulate" in result.stdout
    readme = (tmp_path / "gly/README.md").read_text()
    assert "molflow init --sequence ACE-GLY-NME --out" in readme


def test_the_same_input_makes_the_same_system(tmp_path):
    for name in ("a", "b"):
        init(out=tmp_path / name / "gly", sequence="ACE-GLY-NME")
    files = [
        {p.name: p.read_bytes() for p in (tmp_path / name / "gly").iterdir()} for name in "ab"
    ]
    assert files[0] == files[1]


def test_models_and_locations_are_chosen(tmp_path):
    text = (MOLECULES / "alanine_tripeptide.pdb").read_text()
    atoms = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
    moved = [f"{line[:30]}{float(line[30:38]) + 5:8.3f}{line[38:]}" for line in atoms]
    models = ["MODEL        1", *atoms, "ENDMDL", "MODEL        2", *moved, "ENDMDL", "END"]
    (tmp_path / "two.pdb").write_text("\n".join(models))
    init(tmp_path / "two.pdb", tmp_path / "second", model=2)
    first = load_system(tmp_path / "second").start_positions()[0, 0]
    assert first == pytest.approx(0.1 * float(moved[0][30:38]), abs=1e-4)
    doubled = []
    for line in atoms:
        if line[12:16].strip() == "HB1":
            doubled += [f"{line[:16]}A{line[17:]}", f"{line[:16]}B{line[17:]}"]
        else:
            doubled.append(line)
    (tmp_path / "alternate.pdb").write_text("\n".join([*doubled, "END"]))
    result = invoke("init", tmp_path / "alternate.pdb", "--out", tmp_path / "alt")
    assert result.exit_code == 2 and "say which with --altloc A" in result.stderr
    assert init(tmp_path / "alternate.pdb", tmp_path / "alt", altloc="B")["atoms"] == 32


def test_a_pdbx_file(tmp_path):
    pdb = app.PDBFile(str(MOLECULES / "alanine_tripeptide.pdb"))
    with open(tmp_path / "tri.cif", "w") as file:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, file)
    assert init(tmp_path / "tri.cif", tmp_path / "tri")["atoms"] == 32


def test_an_own_force_field_is_copied_and_found(tmp_path, monkeypatch):
    data = Path(app.__file__).with_name("data")
    shutil.copy(data / "amber99_obc.xml", tmp_path / "solvent.xml")
    given = f"amber99sbildn.xml,{tmp_path / 'solvent.xml'}"
    shipped = load_system("alanine_dipeptide")
    init(shipped.structure_path, tmp_path / "own", forcefield=given)
    monkeypatch.chdir("/")
    system = load_system(tmp_path / "own")
    assert system.forcefield == ["amber99sbildn.xml", "solvent.xml"]
    expected = potential_energies(shipped, shipped.start_positions()[None])
    assert potential_energies(system, shipped.start_positions()[None]) == pytest.approx(expected)


def test_a_d_residue_keeps_its_hand(tmp_path):
    """Mirrored alanine: the other hand is not put right."""
    shipped = load_system("alanine_dipeptide")
    mirrored = mdtraj.load(str(shipped.structure_path))
    mirrored.xyz[..., 2] *= -1
    mirrored.save_pdb(str(tmp_path / "d.pdb"))
    init(tmp_path / "d.pdb", tmp_path / "d")
    system = load_system(tmp_path / "d")
    centres = stereocentres(system.topology())
    hands = [handedness(s.start_positions()[None], centres)[0, 0] for s in (system, shipped)]
    assert hands[0] == -hands[1]


def test_a_name_is_not_one_of_those_built_in(tmp_path):
    assert "alanine_dipeptide" in built_in_systems()
    init(out=tmp_path / "alanine_dipeptide", sequence="ACE-ALA-NME")
    made = yaml.safe_load((tmp_path / "alanine_dipeptide/system.yaml").read_text())
    assert made["name"] == "alanine_dipeptide"
    assert load_system(tmp_path / "alanine_dipeptide").record["system_path"] is not None
