"""The systems that come with molflow are whole, and what their folders say."""

import re

import numpy as np
import openmm
import pytest

from molflow.analysis.molecule.stereo import handedness
from molflow.analysis.torsion_list import torsion_list
from molflow.data.prepare import prepare
from molflow.md.build import build
from molflow.md.energies import evaluate
from molflow.md.simulate import simulate
from molflow.systems import built_in_systems, load_system

ATOMS = {
    "alanine_dipeptide": 22, "alanine_dipeptide_amber14": 22, "alanine_dipeptide_water": 718,
    "alanine_tetrapeptide": 42, "alanine_tripeptide": 32, "aspirin": 21, "aspirin_xtb": 21,
    "chignolin": 138, "proline_dipeptide": 26,
}  # fmt: skip
TORSIONS = {
    "alanine_dipeptide": 2, "alanine_dipeptide_amber14": 2, "alanine_dipeptide_water": 2,
    "alanine_tetrapeptide": 6, "alanine_tripeptide": 4, "aspirin": 3, "aspirin_xtb": 3,
    "chignolin": 32, "proline_dipeptide": 5,
}  # fmt: skip


def test_all_of_them_are_here():
    assert set(built_in_systems()) >= set(ATOMS)


@pytest.mark.parametrize("name", built_in_systems())
def test_a_folder_says_what_it_is_where_it_comes_from_and_under_which_licence(name):
    folder = load_system(name).folder
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Licence" in readme and "MIT" in readme and "cite " in readme
    assert "    molflow " in readme, "the commands behind it"
    assert all(f"`{path.name}" in readme for path in folder.iterdir() if path.name != "README.md")


@pytest.mark.parametrize("name", ATOMS)
def test_a_system_is_whole(name):
    system = load_system(name)
    topology = system.topology()
    assert topology.n_atoms == ATOMS[name] and len(torsion_list(topology)) == TORSIONS[name]
    assert system.record["system_path"] is None
    found = evaluate(system, system.start_positions()[None])
    assert np.isfinite(found.energies).all()
    # One begins at ideal geometry, and bonds of fixed length hold what forces there are in another.
    if name not in ("alanine_dipeptide", "alanine_dipeptide_water"):
        assert np.abs(found.forces).max() < 200
    readme = (system.folder / "README.md").read_text(encoding="utf-8")
    assert f"{ATOMS[name]} atoms" in readme and "made this folder" in readme or name == (
        "alanine_dipeptide"
    )


@pytest.mark.parametrize("name", ATOMS)
def test_amino_acids_are_left_handed(name):
    system = load_system(name)
    for residue in system.topology().residues:
        names = {atom.name: atom.index for atom in residue.atoms}
        if {"CA", "N", "C", "CB"} <= names.keys():
            centre = tuple(names[key] for key in ("CA", "N", "C", "CB"))
            assert handedness(system.start_positions()[None], [centre])[0, 0] > 0


def test_charges_of_aspirin_add_up():
    built, _ = build(load_system("aspirin"))
    force = next(f for f in built.getForces() if isinstance(f, openmm.NonbondedForce))
    assert sum(force.getParticleParameters(k)[0]._value for k in range(21)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "interval"), [("aspirin_xtb", "2fs"), ("alanine_dipeptide_water", "8fs")]
)
def test_verbs_take_them_by_name(name, interval, tmp_path, monkeypatch):
    """A simulation of some frames, and a training set of it."""
    monkeypatch.chdir(tmp_path)
    platform = "Reference" if name == "aspirin_xtb" else "CPU"
    simulate(
        name, time="24fs", replicas=3, frame_interval=interval, equilibration=0, progress=False,
        out="md", jobs=1, platform=platform,
    )  # fmt: skip
    label = f"{name}:solute" if name == "alanine_dipeptide_water" else name
    manifest = prepare("md", "data", label, train=[0], validation=[1])
    assert manifest["system"] == label and manifest["n_atoms"] in (21, 22)
    assert manifest["source"]["platform"] == platform


def test_the_same_molecule_under_three_force_fields_is_three_ensembles():
    names = [name for name in ATOMS if name.startswith("alanine_dipeptide")]
    assert len({load_system(name).ensemble_hash for name in names}) == len(names) == 3
    solute = load_system("alanine_dipeptide_water:solute").topology()
    other = load_system("alanine_dipeptide_amber14").topology()
    assert [str(a) for a in solute.atoms] == [str(a) for a in other.atoms]


def test_no_folder_of_the_machine_that_made_them_is_named():
    files = [*load_system("aspirin").folder.parent.rglob("*.json")]
    assert len(files) > 10
    assert not [file for file in files if re.search(r'"(/|[A-Z]:\\\\)\w', file.read_text())]
