"""The map of capped residues that comes with molflow draws residues that it has not seen."""

import shutil

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

import molflow
from molflow.cli import app
from molflow.training.checkpoint import load_checkpoint, maps_of_many

NAME = "capped_residues"


@pytest.fixture(scope="module")
def leucine(tmp_path_factory):
    """A folder as a user makes it."""
    folder = tmp_path_factory.mktemp("systems") / "leu"
    molflow.init(sequence="ACE-LEU-NME", out=folder)
    return folder


def test_it_is_listed_with_its_molecules():
    assert list(maps_of_many()) == [NAME] and len(maps_of_many()[NAME]) == 14
    listed = CliRunner().invoke(app, ["systems"]).output
    assert f"{NAME}\n" in listed and "ace_thr_nme" in listed


def test_alanine_dipeptide_under_its_force_field_is_known_by_its_atoms():
    said = load_checkpoint(NAME, system="alanine_dipeptide_amber14").description["molecule"]
    assert "has the atoms and bonds of ace_ala_nme, one of the 14 molecules" in said["sentence"]
    assert said["new_surroundings"] == [0, 0, 0, 0] and "another" not in said["sentence"]


def test_the_mirror_image_is_another_molecule(tmp_path):
    own = molflow.load_system("alanine_dipeptide_amber14")
    folder = tmp_path / "mirrored"
    shutil.copytree(own.folder, folder)
    structure = mdtraj.load(str(folder / "structure.pdb"))
    structure.xyz[..., 0] *= -1.0
    structure.save(str(folder / "structure.pdb"))
    said = load_checkpoint(NAME, system=folder).description["molecule"]
    assert said["new_surroundings"][0] == 0 and said["new_surroundings"][2] > 0
    assert "is none of the 14 molecules" in said["sentence"] and "ALA2-CA" in said["sentence"]


def test_side_chains_and_rings_that_it_has_not_seen_are_named(leucine):
    said = load_checkpoint(NAME, system=leucine).description["molecule"]["sentence"]
    assert "none of these has the side chain of LEU2; new are" in said
    said = load_checkpoint(NAME, system="proline_dipeptide").description["molecule"]["sentence"]
    assert "none of these has the side chain of PRO2 or a ring C4N1; new are" in said


def test_leucine_which_it_never_saw_is_whole_and_of_the_right_hand(leucine):
    checkpoint = load_checkpoint(NAME, system=leucine)
    assert "is none of the 14 molecules" in checkpoint.description["molecule"]["sentence"]
    drawn = molflow.sample(checkpoint, steps=8, n=256, path_seed=3, progress=False)
    start = molflow.load_system(leucine).start_positions()
    pairs = np.array([(a.index, b.index) for a, b in drawn.topology.bonds])

    def lengths(x):
        return np.linalg.norm(x[..., pairs[:, 0], :] - x[..., pairs[:, 1], :], axis=-1)

    whole = (abs(lengths(drawn.xyz) / lengths(start) - 1.0) < 0.3).all(-1)
    centre, *others = (
        next(a.index for a in drawn.topology.atoms if a.residue.name == "LEU" and a.name == name)
        for name in ("CA", "N", "C", "CB")
    )

    def hand(x):
        return np.sign(np.linalg.det(x[..., others, :] - x[..., [centre], :]))

    assert whole.mean() > 0.95
    assert (hand(drawn.xyz) == hand(start)).mean() > 0.97
