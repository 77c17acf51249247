"""Paths under the true force: what is stored is what the equation says, and the files are whole."""

import numpy as np
import pytest
import torch

from molflow import driven_paths
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.data.dataset import data_hash, load_training_data
from molflow.data.paths import load_paths
from molflow.data.prepare import centred
from molflow.driven_paths import BLOCK, BLOCKS, add_paths, walk_paths
from molflow.errors import MolflowError
from molflow.files import read_json, write_arrays, write_json
from molflow.md.energies import energies_and_forces
from molflow.md.forces import add_forces, free_masses
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.systems import load_system
from molflow.units import thermal_energy

SYSTEM = load_system("alanine_dipeptide")
FRICTION, ORDER = 4.0, 5


@pytest.fixture(scope="module")
def starts():
    generator = np.random.default_rng(0)
    start = SYSTEM.start_positions()
    return start + 0.002 * generator.standard_normal((3, *start.shape))


@pytest.fixture(scope="module")
def walked(starts):
    return walk_paths(SYSTEM, starts, FRICTION, ORDER, seed=3)


def without_force(states, noise, first, count):
    """Where blocks lead if there is no force: states and ends (paths, 2, atoms, 3)."""
    masses = torch.tensor(free_masses(SYSTEM), dtype=torch.float64)
    sde = UnderdampedLangevin(None, masses, FRICTION, SYSTEM.temperature)
    whole, h = None, torch.tensor(BLOCK, dtype=torch.float64)
    for block in range(first, first + count):
        part = Increment.from_whitened(sde.basis(ORDER), h, torch.from_numpy(noise[:, block]))
        whole = part if whole is None else join(whole, part)
    x = torch.from_numpy(states[:, first])
    zero, t = torch.tensor(0.0), count * h
    free = sde.apply(zero, t, x, torch.zeros_like(x), whole)
    return free.numpy(), sde.gain(zero, t).numpy(), masses.numpy()


@pytest.mark.parametrize(("first", "count"), [(0, 1), (3, 2), (0, BLOCKS)])
def test_no_force_moves_the_centre_of_mass(walked, first, count):
    # The noise that is kept is that of the path: without it momenta would be off by their size.
    free, _, masses = without_force(*walked, first, count)
    ends = walked[0][:, first + count]
    for found, expected in zip(ends.swapaxes(0, 1), free.swapaxes(0, 1), strict=True):
        found, expected = (np.einsum("a,pax->px", masses, one) for one in (found, expected))
        assert np.abs(found - expected).max() < 1e-8 * np.abs(found).max()
    assert np.abs(ends - free)[:, 1].max() > 0.1


def test_mean_forces_are_those_of_openmm(walked):
    # Simpson over 10 fs: enough for heavy atoms, but for what hydrogens do to them.
    states, noise = walked
    free, gain, masses = without_force(states, noise, 0, 2)
    rest = (states[:, 2] - free)[:, 1] / gain[1, 1] * masses[:, None]
    ends = [energies_and_forces(SYSTEM, states[:, k, 0])[1] for k in (0, 1, 2)]
    expected = (ends[0] + 4.0 * ends[1] + ends[2]) / 6.0
    slow = masses > 10.0
    off = (rest - expected)[:, slow]
    assert np.sqrt((off**2).mean() / (expected[:, slow] ** 2).mean()) < 0.3


def test_finer_steps_follow_the_same_path(starts, walked):
    finer, noise = walk_paths(SYSTEM, starts, FRICTION, ORDER, seed=3, steps=64)
    assert np.allclose(noise, walked[1], atol=1e-10)
    off = np.sqrt(((finer - walked[0])[:, 1:, 1] ** 2).mean())
    width = np.sqrt((finer[:, 1:, 1] ** 2).mean())
    assert 0.0 < off < 0.01 * width


def test_velocities_are_thermal_and_paths_follow_from_the_seed(starts):
    many = np.repeat(starts[:1], 400, axis=0)
    masses = np.array(free_masses(SYSTEM))
    drawn = driven_paths.thermal_velocities(masses, 300.0, many.shape, 1)
    kinetic = (masses[:, None] * drawn**2).mean() / thermal_energy(300.0)
    assert kinetic == pytest.approx(1.0, abs=4 * np.sqrt(2 / drawn.size))
    assert np.array_equal(drawn, driven_paths.thermal_velocities(masses, 300.0, many.shape, 1))
    assert not np.allclose(drawn, driven_paths.thermal_velocities(masses, 300.0, many.shape, 2))


@pytest.fixture
def data(tmp_path, starts):
    arrays = {"train": centred(starts), "validation": centred(starts[:2])}
    for name, positions in arrays.items():
        write_arrays(tmp_path / f"{name}.npz", positions=positions)
    manifest = {
        "system": SYSTEM.name, "ensemble": SYSTEM.ensemble, "ensemble_hash": SYSTEM.ensemble_hash,
        "split": {}, "frames": {"train": 3, "validation": 2}, "n_atoms": 22, "scale": 0.2,
        "data_hash": data_hash(arrays["train"]),
        "validation_hash": data_hash(arrays["validation"]),
    }  # fmt: skip
    write_json(tmp_path / "manifest.json", manifest)
    add_forces(tmp_path, hot="600K", progress=False)
    return tmp_path


def test_paths_of_a_training_set(data, monkeypatch):
    monkeypatch.setattr(driven_paths, "PART", 5)
    with pytest.raises(MolflowError, match="no paths under the true force"):
        load_paths(load_training_data(data))
    ask = dict(count=10, frictions=(1.0, 8.0), order=2, jobs=1, progress=False)
    add_paths(data, **ask)
    found = load_paths(load_training_data(data))
    assert [len(part.rows) for part in found.train + found.validation] == [5, 5, 1]
    assert found.blocks == BLOCKS and found.block == BLOCK
    low, high = sorted(part.friction for part in found.train)
    assert 1.0 <= low <= 8.0**0.5 <= high <= 8.0
    assert [int(part.rows["hot"].sum()) for part in found.train + found.validation] == [1, 1, 0]
    first = found.train[0].rows[2]
    again = walk_paths(
        SYSTEM, first["states"][None, 0, 0].astype(float), found.train[0].friction, 2,
        driven_paths.derive_seed(0, "paths", "train", 0),
    )  # fmt: skip
    assert again[0].shape[1:] == first["states"].shape
    with pytest.raises(MolflowError, match=r"map.order is 8, .* 2 coefficients"):
        found.check_use(8)
    found.check_use(2)
    # What is missing is made again, what is there is kept, and both are what they were.
    hashes = read_json(data / "manifest.json")["paths"]
    kept = (data / "paths" / "train-0001.npy").stat().st_mtime_ns
    (data / "paths" / "train-0000.npy").unlink()
    with pytest.raises(MolflowError, match=r"train-0000.npy' is missing or not the file"):
        load_paths(load_training_data(data))
    assert add_paths(data, **ask)["paths"] == hashes
    assert (data / "paths" / "train-0001.npy").stat().st_mtime_ns == kept
    with pytest.raises(MolflowError, match="holds other paths"):
        add_paths(data, **ask | {"count": 9})
    with pytest.raises(MolflowError, match="two positive numbers"):
        add_paths(data, **ask | {"frictions": (2.0, 1.0)})
    with pytest.raises(MolflowError, match="how many paths"):
        add_paths(data, **ask | {"count": 0})
