"""Water under a potential, and a model of one's own, as an ASE calculator in a package."""

import sys

import yaml

from molflow.systems import load_system

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


def water_under(folder, potential, **settings):
    """Write a system of one water molecule under a potential, and return it."""
    folder.mkdir()
    (folder / "structure.pdb").write_text(WATER)
    text = {
        "name": folder.name, "structure": "structure.pdb", "temperature": 300.0, "friction": 1.0,
        "timestep": 1.0, "potential": potential, **settings,
    }  # fmt: skip
    (folder / "system.yaml").write_text(yaml.safe_dump(text))
    return load_system(folder)


def systems_in(folder, monkeypatch):
    """Install the package and return ``system(name, stiffness)``, which makes a system's folder."""
    information = folder / "own-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[molflow.potentials]\nown = own_model:OWN\n")
    (folder / "own_model.py").write_text(MODEL)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    def system(name, stiffness):
        potential = {"name": "own", "options": {"stiffness": stiffness}}
        return water_under(folder / name, potential, friction=5.0, timestep=0.5)

    return system
