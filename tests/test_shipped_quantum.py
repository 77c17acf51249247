"""The map of dynamics under GFN2-xTB that comes with molflow does what its card says."""

import mdtraj
import numpy as np
import pytest
import torch

import molflow
from molflow.comparison import find_reference
from molflow.files import read_json
from molflow.md.energies import evaluate
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.valence.formula import ValenceFormula

SYSTEM = "alanine_dipeptide_gfn2"


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(f"{SYSTEM}:dynamics")


@pytest.fixture(scope="module")
def frames():
    """Conformations of a force field that no map was trained on, nm."""
    held = find_reference("alanine_dipeptide").held_out()
    return held.positions[np.linspace(0, len(held.positions) - 1, 8).astype(int)].astype(float)


def test_it_is_of_the_system_as_it_is(checkpoint):
    system = load_system(SYSTEM)
    if system.ensemble["potential"]["version"] != "0.8.0":
        pytest.skip("another tblite, which is another ensemble")
    assert checkpoint.description["ensemble_hash"] == system.ensemble_hash
    assert isinstance(checkpoint.flow_map.scales.bonded, ValenceFormula)


def test_its_force_is_that_of_the_potential(checkpoint, frames):
    pytest.importorskip("tblite")
    true = evaluate(load_system(SYSTEM), frames, jobs=1).forces
    with torch.no_grad():
        found = checkpoint.flow_map.force(torch.from_numpy(frames).float()).double().numpy()
    assert np.sqrt(((found - true) ** 2).mean() / (true**2).mean()) < 0.03


def test_molecules_stay_whole_and_at_temperature(tmp_path, checkpoint, frames):
    start = mdtraj.Trajectory(frames, checkpoint.topology())
    out = tmp_path / "trajectory.dcd"
    molflow.propagate(checkpoint, start, "0.8ps", "20fs", out, chains=24, save="0.08ps",
                      friction="10/ps", energies=False, progress=False)  # fmt: skip
    record = read_json(out.with_suffix(".json"))
    assert record["broken"] == []
    kinds = record["watched"]["temperatures"]["modes"]
    assert all(abs(row["value"] / 300.0 - 1.0) < 0.1 for row in kinds.values())
