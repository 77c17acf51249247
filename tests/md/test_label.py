"""Labels of another energy function: numbers, resuming, what is left out."""

import numpy as np
import pytest
import yaml

from molflow.data.dataset import data_hash, load_forces, load_training_data
from molflow.data.prepare import centred
from molflow.errors import MolflowError
from molflow.files import write_arrays, write_json
from molflow.md import energies
from molflow.md.energies import evaluate, part_size
from molflow.md.forces import add_forces
from molflow.md.label import label, summary
from molflow.systems import load_system
from molflow.trajectories import write_trajectory

SYSTEM = load_system("alanine_dipeptide")


@pytest.fixture(scope="module")
def quantum(tmp_path_factory):
    """Alanine dipeptide under GFN2-xTB in water."""
    folder = tmp_path_factory.mktemp("quantum")
    (folder / "structure.pdb").write_bytes(SYSTEM.structure_path.read_bytes())
    text = {
        "name": "quantum", "structure": "structure.pdb", "temperature": 300.0, "friction": 1.0,
        "potential": {"name": "gfn2-xtb", "solvent": "water"}, "timestep": 1.0,
    }  # fmt: skip
    (folder / "system.yaml").write_text(yaml.safe_dump(text))
    return load_system(folder)


def shaken(count, seed=0):
    generator = np.random.default_rng(seed)
    start = SYSTEM.start_positions()
    return centred(start + 0.002 * generator.standard_normal((count, *start.shape)))


@pytest.fixture
def data(tmp_path):
    """A training set of the structure, shaken a little, with two molecules that broke."""
    folder = tmp_path / "data"
    folder.mkdir()
    train, validation = shaken(6), shaken(2, 1)
    train[2, 0] += 0.3
    train[4, 20, 0] += 0.4
    for name, positions in (("train", train), ("validation", validation)):
        write_arrays(folder / f"{name}.npz", positions=positions)
    manifest = SYSTEM.record | {
        "split": {"train": [0], "validation": [1], "held_out": []}, "n_atoms": 22, "scale": 0.2,
        "frames": {"train": 6, "validation": 2},
        "data_hash": data_hash(train), "validation_hash": data_hash(validation),
    }  # fmt: skip
    write_json(folder / "manifest.json", manifest)
    return folder


def test_a_training_set_of_another_potential(tmp_path, data, quantum):
    manifest = label(data, quantum, tmp_path / "out", jobs=1, progress=False)
    assert manifest["frames"] == {"train": 4, "validation": 2}
    assert manifest["labels"]["failures"]["train"] == {
        "the bond of atoms 0 and 1 broke": 1, "the bond of atoms 18 and 20 broke": 1
    }  # fmt: skip
    found = load_training_data(tmp_path / "out")
    forces = load_forces(found)
    kept = load_training_data(data).train[[0, 1, 3, 5]]
    assert np.array_equal(found.train, kept) and np.array_equal(forces.train[0], kept)
    expected = evaluate(quantum, kept)
    assert np.allclose(forces.train[1], expected.forces, atol=1e-2)
    energies = np.load(tmp_path / "out" / "train_forces.npz")["energies"]
    assert np.allclose(energies, expected.energies, atol=1e-4)
    assert forces.masses.sum() == pytest.approx(144.17, abs=0.01) and not forces.bonded
    assert manifest["ensemble_hash"] == quantum.ensemble_hash
    assert "6 frames labelled under gfn2-xtb (0.8" in summary(manifest)
    assert "1 of train left out: the bond of atoms 0 and 1 broke." in summary(manifest)
    # The same again is at hand; under other settings it is other labels.
    assert label(data, quantum, tmp_path / "out", progress=False)["labels"] == manifest["labels"]
    amber = label(data, SYSTEM, tmp_path / "amber", progress=False)
    assert amber["labels"]["hash"] != manifest["labels"]["hash"]
    with pytest.raises(MolflowError, match="holds another training set"):
        label(data, SYSTEM, tmp_path / "out", progress=False)


def test_labels_of_a_force_field_are_what_prepare_adds(tmp_path, data):
    label(data, SYSTEM, tmp_path / "out", progress=False)
    with pytest.raises(MolflowError, match="2 of 6 train frames have no forces .*broke.* leaves"):
        add_forces(data, progress=False)
    again = label(tmp_path / "out", SYSTEM, tmp_path / "again", progress=False)
    add_forces(tmp_path / "out", progress=False)
    one, other = (load_forces(load_training_data(tmp_path / name)) for name in ("out", "again"))
    assert np.array_equal(one.train[1], other.train[1]) and one.bonded == other.bonded
    assert again["dynamics"]["forces_sha256"]["train"] == data_hash(one.train[1])


def test_an_interrupted_labelling_goes_on(tmp_path, data, quantum, monkeypatch):
    asked, real = [], energies._Evaluator.batch

    def once_interrupted(self, positions, forces):
        asked.append(len(positions))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, positions, forces)

    monkeypatch.setattr(energies._Evaluator, "batch", once_interrupted)
    with pytest.raises(KeyboardInterrupt):
        label(data, quantum, tmp_path / "out", jobs=1, progress=False)
    assert not (tmp_path / "out" / "manifest.json").exists()
    manifest = label(data, quantum, tmp_path / "out", jobs=1, progress=False)
    assert len(asked) == 3 + 4  # two were there, the third and three more were not
    whole = label(data, quantum, tmp_path / "whole", jobs=1, progress=False)
    assert whole["labels"]["hash"] == manifest["labels"]["hash"]
    assert not list((tmp_path / "out").glob(".*"))


def test_few_frames_are_divided_finely_and_many_coarsely(quantum):
    assert [part_size(quantum, n) for n in (0, 5, 1280, 8192, 10**6)] == [1, 1, 10, 64, 64]
    assert [part_size(SYSTEM, n) for n in (5, 12_800, 10**6)] == [64, 100, 1024]


def test_failures_are_counted_by_reason(tmp_path, data, quantum, monkeypatch):
    def failing(self, positions, forces):
        count = len(positions)
        reasons = ["SCF not converged in 250 cycles"] + [""] * (count - 1)
        found, gradients = np.zeros(count), np.zeros(positions.shape)
        found[0], gradients[0] = np.inf, np.nan
        return found, gradients, reasons

    monkeypatch.setattr(energies, "_PARTS", 1)  # all of them are one part
    monkeypatch.setattr(energies._Evaluator, "batch", failing)
    manifest = label(data, quantum, tmp_path / "out", jobs=1, progress=False)
    assert manifest["labels"]["failures"]["train"]["SCF not converged in 250 cycles"] == 1
    assert manifest["frames"] == {"train": 3, "validation": 1}
    assert np.isfinite(load_forces(load_training_data(tmp_path / "out")).train[1]).all()


def test_a_trajectory_is_labelled(tmp_path):
    write_trajectory(tmp_path / "frames.h5", shaken(3), SYSTEM.topology())
    manifest = label(tmp_path / "frames.h5", SYSTEM, tmp_path / "out", progress=False)
    assert manifest["frames"] == {"train": 3, "validation": 0}
    found = load_forces(load_training_data(tmp_path / "out"))
    assert np.allclose(found.train[1], evaluate(SYSTEM, found.train[0]).forces, atol=1e-2)


def test_what_cannot_be_labelled_is_a_sentence(tmp_path, data):
    (tmp_path / "md").mkdir()
    write_json(tmp_path / "md" / "simulation.json", {})
    with pytest.raises(MolflowError, match="is a simulation: make a training set of it first"):
        label(tmp_path / "md", SYSTEM, tmp_path / "out", progress=False)
    part = SYSTEM.topology().subset(range(5))
    write_trajectory(tmp_path / "part.h5", shaken(2)[:, :5], part)
    with pytest.raises(MolflowError, match="has 5 of the 22 atoms"):
        label(tmp_path / "part.h5", SYSTEM, tmp_path / "out", progress=False)
    broken = shaken(2)
    broken[:, 0] += 0.5
    write_trajectory(tmp_path / "broken.h5", broken, SYSTEM.topology())
    with pytest.raises(MolflowError, match="no frame of .* the bond of atoms 0 and 1 broke"):
        label(tmp_path / "broken.h5", SYSTEM, tmp_path / "out", progress=False)
