"""A model of one's own, as an ASE calculator, all the way to dynamics by a map that learned it."""

import numpy as np
import pytest
import torch
from mdtraj import load_topology
from own_potential import WORDS

from molflow import propagate, simulate
from molflow.data.dataset import load_forces, load_training_data
from molflow.data.prepare import prepare
from molflow.errors import MolflowError
from molflow.md.energies import evaluate
from molflow.md.label import label
from molflow.training.checkpoint import load_checkpoint
from molflow.training.run import train


def test_a_model_of_ones_own_goes_from_labels_to_dynamics(tmp_path, own):
    soft, stiff = own("soft", 25.0), own("stiff", 40.0)
    simulate(soft, "0.6ps", 2, tmp_path / "md", frame_interval="5fs", equilibration="0.1ps",
             jobs=1, progress=False)  # fmt: skip
    prepare(tmp_path / "md", tmp_path / "data", train=[0], validation=[1])
    made = label(tmp_path / "data", stiff, tmp_path / "labelled", jobs=1, progress=False)
    assert made["frames"] == {"train": 120, "validation": 120} and made["labels"]["failures"] == {
        "train": {}, "validation": {}
    }  # fmt: skip
    run = train(stiff, tmp_path / "labelled", tmp_path / "run", overrides=WORDS, progress=False)
    flow_map = load_checkpoint(run).flow_map
    # The formula has learned the stiff molecule from frames of the soft one.
    forces = load_forces(load_training_data(tmp_path / "labelled"))
    positions, pulls = forces.validation
    known = flow_map.motion.bonded(torch.from_numpy(positions)).numpy()
    assert np.sqrt(np.mean((known - pulls) ** 2) / np.mean(pulls**2)) < 0.1
    out = tmp_path / "walk" / "trajectory.dcd"
    walked = propagate(run, stiff.structure_path, "0.04ps", "2fs", out, chains=3, save="20fs",
                       progress=False)  # fmt: skip
    assert walked.n_frames == 6 and load_topology(str(out.parent / "topology.pdb")).n_atoms == 3
    energies = np.load(out.with_suffix(".npz"))["energies"]
    assert np.allclose(energies, evaluate(stiff, walked.xyz).energies, rtol=1e-3, atol=1e-2)


def test_labels_of_another_potential_are_refused(tmp_path, own):
    soft, stiff = own("soft", 25.0), own("stiff", 40.0)
    simulate(soft, "20fs", 2, tmp_path / "md", frame_interval="5fs", equilibration="0ps", jobs=1,
             progress=False)  # fmt: skip
    prepare(tmp_path / "md", tmp_path / "data", train=[0], validation=[1])
    label(tmp_path / "data", soft, tmp_path / "labelled", jobs=1, progress=False)
    with pytest.raises(MolflowError, match="of the system .soft., and .stiff. is to be trained"):
        train(stiff, tmp_path / "labelled", tmp_path / "run", overrides=WORDS, progress=False)
    assert not (tmp_path / "run" / "checkpoint").exists()
