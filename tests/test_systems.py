"""Descriptions of systems: what they hold, what enters the hash, what is refused."""

import shutil
import time
from pathlib import Path

import openmm
import pytest
import yaml
from openmm import app

from molflow.errors import MolflowError
from molflow.md.build import build
from molflow.md.energies import potential_energies
from molflow.systems import load_system, recorded_system

MOLECULES = Path(__file__).parent / "data/molecules"
SHIPPED = load_system("alanine_dipeptide")
PLAIN = {
    "name": "mine", "structure": "structure.pdb",
    "forcefield": ["amber99sbildn.xml", "amber99_obc.xml"],
    "temperature": 300, "friction": 1, "timestep": 1,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine"
    made.mkdir()
    shutil.copy(SHIPPED.structure_path, made / "structure.pdb")
    return made


def described(folder, **entries):
    entries = {key: value for key, value in (PLAIN | entries).items() if value is not None}
    (folder / "system.yaml").write_text(yaml.safe_dump(entries))
    return load_system(folder)


def test_the_hash_of_the_shipped_system_is_that_of_its_checkpoints():
    assert SHIPPED.ensemble_hash == "c80867866be26ab0"
    assert SHIPPED.record["system_path"] is None


def test_quantities_may_have_units(folder):
    given = described(
        folder, temperature="310 K", friction="1/ps", timestep="4 fs", hydrogen_mass="3 amu",
        nonbonded_method="PME", nonbonded_cutoff="9 A", pressure="1 atm", constraints="HBonds",
    )  # fmt: skip
    assert (given.temperature, given.friction, given.timestep) == (310.0, 1.0, 4.0)
    assert given.nonbonded_cutoff == pytest.approx(0.9)
    assert given.pressure == pytest.approx(1.01325) and given.hydrogen_mass == 3.0
    assert described(folder, timestep="0.004 ps").timestep == pytest.approx(4.0)


def test_units_and_numbers_are_the_same_ensemble(folder):
    first = described(folder).ensemble_hash
    assert described(folder, temperature="300 K", timestep="1 fs").ensemble_hash == first
    assert described(folder, description="other words").ensemble_hash == first
    assert described(folder, selections={"a": {"atoms": "0-3, 7"}}).ensemble_hash == first


@pytest.mark.parametrize("change", [
    {"temperature": 301}, {"constraints": "HBonds"}, {"hydrogen_mass": 2},
    {"forcefield": ["amber14-all.xml"]}, {"timestep": 2},
])  # fmt: skip
def test_what_defines_the_ensemble_is_hashed(folder, change):
    assert described(folder).ensemble_hash != described(folder, **change).ensemble_hash


def test_contents_of_files_are_hashed(folder):
    text = Path(app.__file__).with_name("data").joinpath("amber99_obc.xml").read_text()
    (folder / "solvent.xml").write_text(text)
    files = ["amber99sbildn.xml", "solvent.xml"]
    first = described(folder, forcefield=files).ensemble
    (folder / "solvent.xml").write_text(text + "\n")
    second = described(folder, forcefield=files).ensemble
    assert set(first["files_sha256"]) == {"solvent.xml"}
    assert first["files_sha256"] != second["files_sha256"]


def test_files_are_found_from_any_folder(folder, monkeypatch, tmp_path):
    data = Path(app.__file__).with_name("data")
    shutil.copy(data / "amber99_obc.xml", folder / "solvent.xml")
    monkeypatch.chdir(folder.parent)
    described(folder, forcefield=["amber99sbildn.xml", "solvent.xml"])
    given = load_system("mine")
    monkeypatch.chdir("/")
    energy = potential_energies(given, given.start_positions()[None])
    expected = potential_energies(SHIPPED, SHIPPED.start_positions()[None])
    assert energy == pytest.approx(expected, rel=1e-12)


def test_a_system_is_found_again_by_its_record(folder):
    given = described(folder, selections={"some": {"atoms": "4-8"}})
    assert recorded_system(given.record).folder == folder
    assert recorded_system(load_system(f"{folder}:some").record).atoms == [4, 5, 6, 7, 8]
    described(folder, temperature=350)
    with pytest.raises(MolflowError, match="is another one now"):
        recorded_system(given.record)
    (folder / "structure.pdb").unlink()
    with pytest.raises(MolflowError, match="was in '.*mine' and cannot be read from there"):
        recorded_system(given.record)
    shutil.rmtree(folder)
    with pytest.raises(MolflowError, match="was in '.*mine' and is not there any more: bring its"):
        recorded_system(given.record)


def test_contents_of_openmm_files_can_be_pinned(folder):
    from molflow.md.forcefields import forcefield_digest

    digest = forcefield_digest(described(folder))
    build(described(folder, forcefield_sha256=digest))
    with pytest.raises(MolflowError, match="are not those that 'mine' was made with"):
        build(described(folder, forcefield_sha256="0" * 64))


def test_heavy_hydrogens_and_constraints_reach_openmm(folder):
    built, _ = build(described(folder, hydrogen_mass=3, constraints="HBonds"))
    plain, _ = build(described(folder))
    masses = [built.getParticleMass(k)._value for k in range(22)]
    assert masses[0] == 3.0 and built.getNumConstraints() == 12
    assert sum(masses) == pytest.approx(sum(plain.getParticleMass(k)._value for k in range(22)))


def test_a_serialised_system_gives_its_energy(tmp_path):
    for name in ("aspirin.pdb", "aspirin_system.xml"):
        shutil.copy(MOLECULES / name, tmp_path)
    given = described(
        tmp_path, structure="aspirin.pdb", forcefield=None, system_xml="aspirin_system.xml"
    )
    built = openmm.XmlSerializer.deserialize((MOLECULES / "aspirin_system.xml").read_text())
    context = openmm.Context(built, openmm.VerletIntegrator(1e-3))
    context.setPositions(given.start_positions())
    expected = context.getState(energy=True).getPotentialEnergy()._value
    found = potential_energies(given, given.start_positions()[None])
    assert found == pytest.approx(expected, rel=1e-5)


WRONG = {
    "unit of another kind": ({"temperature": "300 fs"}, "temperature is '300 fs', which is not"),
    "negative": ({"temperature": -1}, "'temperature' is -1: Input should be greater than 0"),
    "not finite": ({"friction": float("nan")}, "'friction' is nan"),
    "unknown key": ({"temprature": 300}, "'temprature' is 300: Extra inputs"),
    "unknown method": ({"nonbonded_method": "Ewald"}, "'nonbonded_method' is Ewald"),
    "two energies": ({"system_xml": "x.xml"}, "either a forcefield or a potential"),
    "cutoff without": ({"nonbonded_cutoff": 1}, "nonbonded_method is NoCutoff"),
    "pressure without box": ({"pressure": 1}, "pressure needs a box"),
    "structure absent": ({"structure": "no.pdb"}, "'no.pdb', which is not beside it"),
    "atoms twice": ({"selections": {"a": {"atoms": [1, 1]}}}, "named once"),
    "no atoms": ({"selections": {"a": {"atoms": []}}}, "at least 1 item"),
    "range": ({"selections": {"a": {"atoms": "0-x"}}}, "'0-x' is not a range"),
    "far range": ({"selections": {"a": {"atoms": "0-99999999999"}}}, "more atoms than"),
    "missing": ({"friction": None}, "it lacks 'friction'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_description_is_one_sentence(folder, name):
    entries, message = WRONG[name]
    with pytest.raises(MolflowError, match=message) as raised:
        described(folder, **entries)
    assert "\n" not in str(raised.value)


def test_a_selection_beyond_the_molecule_is_told(folder):
    described(folder, selections={"far": {"atoms": "0-22"}})
    with pytest.raises(MolflowError, match="names the atom 22, and .* atoms 0 to 21"):
        load_system(f"{folder}:far").topology()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(("text", "message"), [
    (BOMB, "alias '\\*a' in line 2"),
    ("[" * 5000, "nested too deep"),
    ("- " * 5000, "nested too deep"),
    ("x: [" + "1:" * 40_000 + "1," + "[]," * 5000, "not readable YAML"),
    ("", "does not hold"),
    ("- 1", "does not hold"),
    ("x: !!python/object/apply:os.system ['true']", "not readable YAML"),
    ("x: '" + "y" * 100_001 + "'", "larger than 100 kB"),
])  # fmt: skip
def test_hostile_descriptions_are_refused(folder, text, message):
    (folder / "system.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(MolflowError, match=message) as raised:
        load_system(folder)
    assert len(str(raised.value)) < 600 and time.process_time() - start < 10


CODE = "<ForceField><{0}>open('ran', 'w')</{0}></ForceField>"


@pytest.mark.parametrize("tag", ["Script", "InitializationScript"])
def test_code_in_a_force_field_runs_only_when_the_user_says_so(folder, monkeypatch, tag):
    monkeypatch.chdir(folder)
    (folder / "inner.xml").write_text(CODE.format(tag))
    (folder / "outer.xml").write_text('<ForceField><Include file="inner.xml"/></ForceField>')
    given = described(folder, forcefield=["amber99sbildn.xml", "amber99_obc.xml", "outer.xml"])
    with pytest.raises(MolflowError, match=f"inner.xml' holds Python code \\(<{tag}>\\)"):
        build(given)
    assert not (folder / "ran").exists()
    monkeypatch.setenv("MOLFLOW_RUN_FORCEFIELD_SCRIPTS", "yes")
    build(given)
    assert (folder / "ran").exists()


def energy_of_nothing(state):
    return 0.0, None


def serialised(folder, change):
    """Aspirin's System after a change."""
    built = openmm.XmlSerializer.deserialize((MOLECULES / "aspirin_system.xml").read_text())
    made = change(built) or built
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(made))
    shutil.copy(MOLECULES / "aspirin.pdb", folder)
    return described(folder, structure="aspirin.pdb", forcefield=None, system_xml="system.xml")


def virtual(built):
    built.setParticleMass(20, 0.0)
    built.setVirtualSite(20, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def drude(built):
    force = openmm.DrudeForce()
    force.addParticle(1, 0, -1, -1, -1, -1.0, 0.001, 0, 0)
    built.addForce(force)


CHANGES = {
    "barostat": (lambda s: s.addForce(openmm.MonteCarloBarostat(1, 300)) and None, "Barostat"),
    "thermostat": (lambda s: s.addForce(openmm.AndersenThermostat(300, 1)) and None, "Andersen"),
    "drude": (drude, "DrudeForce"),
    "virtual site": (virtual, r"\[20\] .* virtual sites"),
    "no mass": (lambda s: s.setParticleMass(3, 0.0), r"\[3\]"),
    "one particle more": (lambda s: s.addParticle(1.0) and None, "22 particles and .* 21 atoms"),
    "another element": (lambda s: s.setParticleMass(0, 35.45), "disagree on what the atoms are"),
    "a pickle": (lambda s: s.addForce(openmm.PythonForce(energy_of_nothing)) and None, "Python"),
    "a state": (lambda s: openmm.VerletIntegrator(1e-3), "serialised VerletIntegrator"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_systems_that_are_not_for_molflow_are_refused(tmp_path, name):
    change, message = CHANGES[name]
    with pytest.raises(MolflowError, match=message):
        build(serialised(tmp_path, change))


def test_a_damaged_system_is_a_sentence(tmp_path):
    given = serialised(tmp_path, lambda s: None)
    text = (tmp_path / "system.xml").read_text()
    for wrong in ("", text[:2000], "<System/>", text.replace("HarmonicBondForce", "NoSuchForce")):
        (tmp_path / "system.xml").write_text(wrong)
        with pytest.raises(MolflowError, match="system.xml' "):
            build(given)


def boxed(folder, width):
    pdb = folder / "structure.pdb"
    cell = f"CRYST1{width:9.3f}{width:9.3f}{width:9.3f}  90.00  90.00  90.00 P 1           1\n"
    pdb.write_text(cell + SHIPPED.structure_path.read_text())


def test_a_box_is_never_dropped_silently(folder):
    boxed(folder, 25.0)
    with pytest.raises(MolflowError, match="has a periodic box, and its forces know none"):
        build(described(folder))
    vacuum = ["amber99sbildn.xml"]
    built, _ = build(described(folder, forcefield=vacuum, nonbonded_method="PME"))
    assert built.usesPeriodicBoundaryConditions()
    small = {"forcefield": vacuum, "nonbonded_method": "PME", "nonbonded_cutoff": 1.3}
    with pytest.raises(MolflowError, match="2.5 nm wide and the cutoff 1.3 nm"):
        build(described(folder, **small))
    shutil.copy(SHIPPED.structure_path, folder / "structure.pdb")
    with pytest.raises(MolflowError, match="has no box"):
        build(described(folder, **small))


def test_a_folder_with_a_built_in_name_has_to_be_meant(folder, monkeypatch):
    described(folder)
    shutil.copytree(folder, folder.parent / "alanine_dipeptide")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(MolflowError, match="write ./alanine_dipeptide for the folder"):
        load_system("alanine_dipeptide")
    assert load_system("./alanine_dipeptide").name == "mine"
    assert recorded_system(SHIPPED.record).ensemble_hash == SHIPPED.ensemble_hash
    assert load_system("alanine_tripeptide").name == "alanine_tripeptide"
