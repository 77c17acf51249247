"""The map of Langevin dynamics that comes with molflow does what its card says."""

from functools import reduce

import mdtraj
import numpy as np
import pytest
import torch

import molflow
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.comparison import find_reference
from molflow.driven_paths import BLOCK, BLOCKS, walk_paths
from molflow.files import read_json
from molflow.md.energies import energies_and_forces
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths
from molflow.systems import load_system
from molflow.testing import assert_equivariant
from molflow.training.checkpoint import load_checkpoint
from molflow.units import thermal_energy

SYSTEM = "alanine_dipeptide"


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(f"{SYSTEM}:dynamics")


@pytest.fixture(scope="module")
def frames():
    """Conformations of runs that the map was not trained on, nm."""
    held = find_reference(SYSTEM).held_out()
    return held.positions[np.linspace(0, len(held.positions) - 1, 8).astype(int)].astype(float)


def test_it_was_never_shown_what_it_is_scored_on(checkpoint):
    split, reference = checkpoint.description["split"], find_reference(SYSTEM)
    assert not {*split["train"], *split["validation"]} & set(reference.held_out_runs)
    assert checkpoint.description["ensemble_hash"] == reference.ensemble_hash


def test_its_force_is_that_of_the_force_field(checkpoint, frames):
    true = energies_and_forces(load_system(SYSTEM), frames)[1]
    with torch.no_grad():
        found = checkpoint.flow_map.force(torch.from_numpy(frames).float()).double().numpy()
    assert np.sqrt(((found - true) ** 2).mean() / (true**2).mean()) < 0.01


def test_it_follows_the_path_that_drives_the_true_force(checkpoint, frames):
    flow_map = checkpoint.flow_map
    system = load_system(SYSTEM)
    states, noise = walk_paths(system, frames, flow_map.friction, flow_map.order, seed=3)
    blocks = [
        Increment.from_whitened(flow_map.basis, torch.tensor(BLOCK).double(), torch.from_numpy(z))
        for z in noise.swapaxes(0, 1)
    ]
    motion, x, half = Motion(flow_map), torch.from_numpy(states[:, 0]), BLOCKS // 2
    for part in (blocks[:half], blocks[half:]):
        x = motion.step(x, reduce(join, part))
    error = x.numpy() - states[:, -1]
    masses = flow_map.sde.masses.numpy().ravel()[:, None]
    thermal = error[:, 1] * np.sqrt(masses / thermal_energy(flow_map.temperature))
    # Velocities that have nothing to do with each other are 2.4 apart.
    assert np.sqrt((thermal**2).sum(-1).mean()) < 0.12
    assert 10.0 * np.sqrt((error[:, 0] ** 2).sum(-1).mean()) < 0.01


def test_equivariance_in_single_precision(checkpoint, frames):
    flow_map = checkpoint.flow_map
    paths = ChainPaths(flow_map.basis, len(frames), 22, 0)
    increment = paths.increment(0.0, 0.02)
    x, motion = start_state(flow_map, frames, 0), Motion(flow_map)

    def step(x, increment):
        return motion.step(x.unflatten(1, (2, -1)), increment).flatten(1, 2)

    # Forces know no hand: those of the mirror image are the mirrored ones.
    generator = torch.Generator().manual_seed(0)
    assert_equivariant(step, x.flatten(1, 2), increment, generator, 1e-4, mirror=False)


def test_chains_by_its_name_keep_their_temperature(checkpoint, frames, tmp_path):
    starts = mdtraj.Trajectory(frames, checkpoint.topology())
    out = tmp_path / "chains.dcd"
    molflow.propagate(
        f"{SYSTEM}:dynamics", starts, "2ps", "20fs", out, chains=32, save="0.1ps", progress=False
    )
    record = read_json(out.with_suffix(".json"))
    assert not record["broken"]
    table = record["watched"]["temperatures"]
    assert abs(table["all"]["atoms"]["value"] / 300.0 - 1.0) < 0.05
    for row in (*table["elements"].values(), *table["modes"].values()):
        assert abs(row["value"] / 300.0 - 1.0) < 0.1 + 3.0 * row["error"] / 300.0
