"""Forces of a training set: against differences of the energy, and what has none."""

import shutil

import numpy as np
import pytest
import torch
import yaml

from molflow.data.dataset import data_hash, load_forces, load_training_data
from molflow.data.prepare import centred
from molflow.errors import MolflowError
from molflow.files import read_json, write_arrays, write_json
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.md.energies import potential_energies
from molflow.md.forces import add_forces, free_masses, heated
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")


@pytest.fixture
def data(tmp_path):
    """A training set of the structure, shaken a little."""
    generator = np.random.default_rng(0)
    start = SYSTEM.start_positions()
    arrays = {
        name: centred(start + 0.002 * generator.standard_normal((count, *start.shape)))
        for name, count in (("train", 4), ("validation", 2))
    }
    for name, positions in arrays.items():
        write_arrays(tmp_path / f"{name}.npz", positions=positions)
    manifest = {
        "system": SYSTEM.name, "ensemble": SYSTEM.ensemble, "ensemble_hash": SYSTEM.ensemble_hash,
        "split": {}, "frames": {"train": 4, "validation": 2}, "n_atoms": 22, "scale": 0.2,
        "data_hash": data_hash(arrays["train"]),
        "validation_hash": data_hash(arrays["validation"]),
    }  # fmt: skip
    write_json(tmp_path / "manifest.json", manifest)
    return tmp_path


def test_forces_are_slopes_of_the_energy(data):
    add_forces(data, hot="600K", progress=False)
    found = load_forces(load_training_data(data))
    for positions, forces in (found.train, found.validation, found.hot):
        assert positions.shape == forces.shape and positions.dtype == forces.dtype == np.float32
        frame, step = positions[0].astype(float), 1e-5
        moved = np.repeat(frame[None], 12, axis=0)
        picks = [(k, axis) for k in (0, 5, 21) for axis in (0, 2)]
        for row, (atom, axis) in enumerate(picks):
            moved[2 * row, atom, axis] += step
            moved[2 * row + 1, atom, axis] -= step
        up, down = potential_energies(SYSTEM, moved).reshape(-1, 2).T
        expected = -(up - down) / (2 * step)
        assert np.allclose([forces[0][pick] for pick in picks], expected, rtol=1e-5, atol=0.05)
        assert np.abs(expected).max() > 10
        # No field from outside: forces and torques add up to zero.
        assert np.abs(forces.sum(1)).max() < 1e-2 * np.abs(forces).max()
    assert found.masses.sum() == pytest.approx(144.176, abs=0.01)
    assert found.masses[1] == pytest.approx(12.01, abs=0.01)
    # The bonded terms are most of the force.
    assert (len(found.bonded.bonds), len(found.bonded.angles)) == (21, 36)
    positions, forces = found.train
    rest = forces - BondedForce(found.bonded, 22)(torch.from_numpy(positions)).numpy()
    assert 0.02 < rest.std() / forces.std() < 0.5


def test_heated_frames_are_hotter():
    start = np.repeat(SYSTEM.start_positions()[None], 60, axis=0)
    warm, hot = (
        potential_energies(SYSTEM, heated(SYSTEM, start, temperature, 0, False)).mean()
        for temperature in (300.0, 600.0)
    )
    # 60 vibrations that share their energy evenly would differ by 60 k (600 - 300) K / 2 = 75.
    assert 40.0 < hot - warm < 110.0


def test_heating_follows_from_its_seed():
    start = SYSTEM.start_positions()[None]
    one, same, other = (heated(SYSTEM, start, 500.0, seed, False) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and np.abs(one - other).max() > 1e-3


def test_without_forces_is_a_sentence(data):
    with pytest.raises(MolflowError, match="has no forces, .* molflow prepare --forces"):
        load_forces(load_training_data(data))
    add_forces(data, progress=False)
    assert len(load_forces(load_training_data(data)).hot[0]) == 0
    write_arrays(data / "train_forces.npz", forces=np.zeros((4, 22, 3), dtype=np.float32))
    with pytest.raises(MolflowError, match="does not hold the forces that the manifest speaks of"):
        load_forces(load_training_data(data))


def test_what_cannot_be_is_a_sentence(data):
    with pytest.raises(MolflowError, match="hot is 200 K: give more than the 300 K"):
        add_forces(data, hot="200K", progress=False)
    write_json(data / "manifest.json", read_json(data / "manifest.json") | {"ensemble_hash": "0"})
    with pytest.raises(MolflowError, match="of the ensemble 0, and 'alanine_dipeptide' of"):
        add_forces(data, SYSTEM, progress=False)
    with pytest.raises(MolflowError, match="is another one now"):
        add_forces(data, progress=False)


def changed_system(folder, **changes):
    shutil.copytree(SYSTEM.folder, folder, ignore=shutil.ignore_patterns("checkpoint", "reference"))
    text = yaml.safe_load((folder / "system.yaml").read_text()) | changes
    (folder / "system.yaml").write_text(yaml.safe_dump(text))
    return load_system(folder)


def test_constraints_are_a_sentence(tmp_path):
    system = changed_system(tmp_path / "rigid", constraints="HBonds")
    with pytest.raises(MolflowError, match="has 12 constraints, .* set constraints to none"):
        free_masses(system)


def test_virtual_sites_are_a_sentence(monkeypatch):
    import openmm

    import molflow.md.forces as module

    built, topology = module.build(SYSTEM)
    built.setParticleMass(3, 0.0)
    built.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    monkeypatch.setattr(module, "build", lambda system: (built, topology))
    with pytest.raises(MolflowError, match=r"particles \[3\] .* virtual sites or have no mass"):
        free_masses(SYSTEM)
