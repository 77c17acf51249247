"""A model of one's own, as an ASE calculator, all the way to dynamics by a map that learned it."""

import sys

import numpy as np
import pytest
import torch
import yaml
from mdtraj import load_topology

from molflow import propagate, simulate
from molflow.data.dataset import load_forces, load_training_data
from molflow.data.prepare import prepare
from molflow.errors import MolflowError
from molflow.md.energies import evaluate
from molflow.md.label import label
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.training.run import train

WATER = """\
HETATM    1  O   HOH A   1       0.000   0.000   0.117  1.00  0.00           O
HETATM    2  H1  HOH A   1       0.000   0.757  -0.470  1.00  0.00           H
HETATM    3  H2  HOH A   1       0.000  -0.757  -0.470  1.00  0.00           H
CONECT    1    2    3
END
"""
#: Two bonds and a spring between the hydrogens, in Angstrom and eV, none of them harmonic.
MODEL = """
import torch
from ase.calculators.calculator import Calculator, all_changes

from molflow.md.potentials.calculator import by_calculator


class Model(torch.nn.Module):
    def __init__(self, stiffness):
        super().__init__()
        self.register_buffer("rest", torch.tensor([0.96, 0.96, 1.52], dtype=torch.float64))
        size = torch.tensor([1.0, 1.0, 0.1], dtype=torch.float64)
        self.register_buffer("stiffness", stiffness * size)

    def forward(self, x):
        d = torch.pdist(x) - self.rest
        return (self.stiffness * (0.5 * d.square() - 0.4 * d**3 + 0.4 * d**4)).sum()


class ModelCalculator(Calculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self, stiffness):
        super().__init__()
        self.model = Model(stiffness)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = torch.tensor(self.atoms.positions, requires_grad=True)
        energy = self.model(x)
        (slope,) = torch.autograd.grad(energy, x)
        self.results = {"energy": energy.item(), "forces": -slope.numpy()}


OWN = by_calculator(
    "own", lambda settings: ModelCalculator(settings.options["stiffness"]), ["stiffness"]
)
"""
WORDS = [
    "map.kind=langevin", "map.bonded=fitted", "map.order=3", "map.longest_lag=0.004",
    "network.scalars=8", "network.vectors=4", "network.heads=2", "network.layers=1",
    "network.pair_width=4", "steps=10", "steps_per_epoch=5", "batch_size=12",
    "objective.local_steps=5", "objective.rollouts=4", "objective.rollout_length=3",
    "objective.validation_lags=[0.002]", "objective.validation_steps=3", "validate_every=2",
    "validation_samples=8", "learning_rate_warmup=2", "learning_rate_decay=3",
]  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    information = tmp_path / "own-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[molflow.potentials]\nown = own_model:OWN\n")
    (tmp_path / "own_model.py").write_text(MODEL)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def system(name, stiffness):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "structure.pdb").write_text(WATER)
        text = {
            "name": name, "structure": "structure.pdb", "temperature": 300.0, "friction": 5.0,
            "timestep": 0.5, "potential": {"name": "own", "options": {"stiffness": stiffness}},
        }  # fmt: skip
        (folder / "system.yaml").write_text(yaml.safe_dump(text))
        return load_system(folder)

    return system


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
