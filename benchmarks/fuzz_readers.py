"""What `fuzz.py` mutates: the readers of molflow, and small files that each can read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from molflow.files import read_json, write_arrays, write_json

MOLECULES = Path(__file__).parents[1] / "tests/data/molecules"
SYSTEM = "alanine_dipeptide"
#: One file of the paths of a training set.
PART = "paths/part.npy"


@dataclass(frozen=True)
class Target:
    """A reader, the folder that it reads and the files of it that are mutated."""

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], object]

    @property
    def slow(self) -> bool:
        """Whether each file is looked at in a process of its own."""
        return self.files[0].endswith((".xtc", ".trr", ".h5"))


def _ensemble(name: str):
    def read(folder: Path) -> object:
        from molflow.analysis.files.ensemble import read_ensemble

        found = read_ensemble(folder / name, folder / "topology.pdb")
        return [part.xyz.sum() for part in found.chunks(50)]

    return read


def _topology(name: str):
    def read(folder: Path) -> object:
        from molflow.analysis.files.ensemble import read_ensemble

        return read_ensemble(folder / "a.dcd", folder / name)

    return read


def _call(module: str, function: str, name: str = "", *arguments):
    def read(folder: Path) -> object:
        found = __import__(module, fromlist=[function])
        return getattr(found, function)(folder / name if name else folder, *arguments)

    return read


def _paths(folder: Path) -> object:
    from molflow.data.dataset import load_forces, load_training_data

    return load_forces(load_training_data(folder))


def _system(folder: Path) -> object:
    from molflow.systems import load_system

    system = load_system(folder)
    return system.topology(), system.start_positions()


def _configuration(folder: Path) -> object:
    from molflow.training.configuration import load_configuration

    return load_configuration([folder / "training.yaml"], ())


def _parameters(function: str, *names: str):
    def read(folder: Path) -> object:
        from molflow.setup import parameters

        return getattr(parameters, function)(*(folder / name for name in names))

    return read


def _driven_paths(folder: Path) -> object:
    from molflow.data.dataset import load_training_data
    from molflow.data.paths import load_paths

    _say_hash(folder / "manifest.json", folder / PART, "paths", "sha256", "part.npy")
    return load_paths(load_training_data(folder))


def _frames(folder: Path) -> object:
    from molflow.data.simulation import open_simulation

    for name in ("replica-0.dcd", "replica-0.npz"):
        _say_hash(folder / "simulation.json", folder / name, "sha256", name)
    return open_simulation(folder).trajectory(0)


def _dynamics(folder: Path) -> object:
    from molflow.training.checkpoint import load_checkpoint

    _say_hash(folder / "model.json", folder / "residual.safetensors", "residual_sha256")
    return load_checkpoint(folder)


@cache
def _moved_by():
    from molflow.training.checkpoint import load_checkpoint

    return load_checkpoint(f"{SYSTEM}:dynamics")


def _chains(folder: Path) -> object:
    from molflow.maps.langevin.residual_balance import chain_temperatures

    return chain_temperatures(folder / "c.dcd", _moved_by())


def _say_hash(description: Path, file: Path, *keys: str) -> None:
    """Have a description name the hash of a changed file, as whoever means harm would."""
    from molflow.errors import MolflowError
    from molflow.files import sha256_of

    try:
        text = inner = read_json(description)
        for key in keys[:-1]:
            inner = inner[key]
        if inner.get(keys[-1]) != sha256_of(file):
            inner[keys[-1]] = sha256_of(file)
            write_json(description, text)
    except (MolflowError, LookupError, TypeError, AttributeError, ValueError):
        pass  # the description itself was changed


def _report(folder: Path) -> object:
    from molflow.analysis.files.own_files import check_report_paths

    return check_report_paths(folder / "r.html", folder / "r.json")


def _charmm(folder: Path) -> object:
    from molflow.setup.parameters import from_charmm

    return from_charmm(folder / "m.psf", [folder / "m.prm"], folder / "m.pdb")


TARGETS = [
    *(Target(name, (name,), _ensemble(name)) for name in (
        "a.dcd", "a.xtc", "a.trr", "a.nc", "a.h5", "a.pdb", "a.gro", "a.cif", "a.xyz", "a.mdcrd",
        "a.lammpstrj", "a.pdb.gz", "a.xyz.gz", "a.rst7", "a.ncrst",
    )),
    Target("topology.pdb", ("topology.pdb",), _topology("topology.pdb")),
    Target("record", ("b.json", "b.npz"), _ensemble("b.dcd")),
    Target("weights.npz", ("w.npz",), _call("molflow.analysis.files.weight_files",
                                            "read_log_weights", "w.npz", 20, "the ensemble")),
    Target("weights.txt", ("w.txt",), _call("molflow.analysis.files.weight_files",
                                            "read_log_weights", "w.txt", 20, "the ensemble")),
    Target("weights.npy", ("w.npy",), _call("molflow.analysis.files.weight_files",
                                            "read_log_weights", "w.npy", 20, "the ensemble")),
    Target("reference", ("reference.json", "reference.npz", "topology.pdb"),
           _call("molflow.analysis.reference", "load_reference")),
    Target("simulation", ("simulation.json", "topology.pdb"),
           _call("molflow.data.simulation", "open_simulation")),
    Target("training set", ("manifest.json", "train.npz", "validation.npz",
                            "train_forces.npz"), _paths),
    Target("system", ("system.yaml", "structure.pdb"), _system),
    Target("configuration", ("training.yaml",), _configuration),
    Target("bias", ("bias.npz",), _call("molflow.md.bias", "load_bias", "bias.npz")),
    Target("frames of a simulation",
           ("replica-0.dcd", "replica-0.npz", "simulation.json"), _frames),
    Target("paths", ("manifest.json", "paths/plan.json", PART), _driven_paths),
    Target("slow modes", ("slow_modes.json", "slow_modes.npz"),
           _call("molflow.analysis.kinetics.slow_modes", "load_slow_modes")),
    Target("report", ("r.html", "r.json"), _report),
    Target("topology.prmtop", ("m.prmtop",),
           _call("molflow.analysis.files.formats", "read_topology", "m.prmtop")),
    Target("topology.psf", ("m.psf",),
           _call("molflow.analysis.files.formats", "read_topology", "m.psf")),
    Target("bond orders", ("m.sdf",),
           _call("molflow.analysis.molecule.bond_orders", "drawn_molecule", "m.sdf")),
    Target("structure", ("s.pdb",), _call("molflow.setup.structures", "read_structure", "s.pdb")),
    Target("drawn", ("m.sdf",), _call("molflow.setup.small_molecules", "from_file", "m.sdf")),
    Target("AMBER", ("m.prmtop", "m.inpcrd"), _parameters("from_amber", "m.prmtop", "m.inpcrd")),
    Target("CHARMM", ("m.psf", "m.prm", "m.pdb"), _charmm),
    Target("GROMACS", ("m.top", "m.gro"), _parameters("from_gromacs", "m.top", "m.gro")),
    Target("System", ("m.xml", "m.pdb"), _parameters("from_system_xml", "m.xml", "m.pdb")),
    Target("checkpoint", ("model.json", "model.safetensors", "topology.pdb"),
           _call("molflow.training.checkpoint", "load_checkpoint")),
    Target("map of dynamics",
           ("model.json", "residual.safetensors", "model.safetensors"), _dynamics),
    Target("chains of a map", ("c.json", "c.npz"), _chains),
]  # fmt: skip


def seeds(folder: Path) -> None:
    """Write the files that are mutated, each reader's in a folder of its own."""
    import mdtraj

    from molflow.comparison import find_reference
    from molflow.data.dataset import data_hash
    from molflow.files import sha256_of
    from molflow.systems import systems_folder

    truth = find_reference(SYSTEM)
    made = mdtraj.Trajectory(truth.positions[:20], truth.topology, time=np.arange(20.0))
    made.unitcell_lengths, made.unitcell_angles = np.full((20, 3), 4.0), np.full((20, 3), 90.0)
    for target in TARGETS:
        own = folder / target.name
        own.mkdir(parents=True)
        made[0].save_pdb(str(own / "topology.pdb"))
        made.save_dcd(str(own / "a.dcd"))
        for name in target.files:
            if name.startswith("a.") and name != "a.dcd":
                few = made[:1] if name in ("a.rst7", "a.ncrst") else made[:5]
                few.save(str(own / name))
    own = folder / "record"
    made.save_dcd(str(own / "b.dcd"))
    write_json(
        own / "b.json",
        {
            "trajectory_sha256": sha256_of(own / "b.dcd"),
            "n": 20,
            "checkpoint": {"split": {"train": [0], "validation": [1]}},
        },
    )
    write_arrays(own / "b.npz", energies=np.zeros(20), log_weights=np.zeros(20))
    weights = np.linspace(1, 2, 20)
    np.savez_compressed(folder / "weights.npz/w.npz", weights=weights)
    np.save(folder / "weights.npy/w.npy", weights)
    np.savetxt(folder / "weights.txt/w.txt", weights)
    truth.select([0, 1]).save(folder / "reference")
    small = {name: truth.positions[k : k + 5] for k, name in ((0, "train"), (5, "validation"))}
    for name, positions in small.items():
        write_arrays(folder / f"training set/{name}.npz", positions=positions)
        write_arrays(folder / f"training set/{name}_forces.npz", forces=positions)
    write_json(folder / "training set/manifest.json", {
        "system": SYSTEM, "ensemble": truth.ensemble, "ensemble_hash": truth.ensemble_hash,
        "split": {"train": [0], "validation": [1], "held_out": [2]}, "n_atoms": 22,
        "frames": {name: 5 for name in small}, "scale": 0.2, "temperature": 300.0,
        "data_hash": data_hash(small["train"]), "validation_hash": data_hash(small["validation"]),
        "dynamics": {
            "hot_frames": 0, "masses": [1.0] * 22,
            "forces_sha256": {name: data_hash(array) for name, array in small.items()},
        },
    })  # fmt: skip
    write_json(folder / "simulation/simulation.json", {
        "system": SYSTEM, "ensemble": {}, "ensemble_hash": "a", "temperature": 300.0,
        "frame_interval_ps": 1.0, "replicas": 2, "status": "finished", "sha256": {},
    })  # fmt: skip
    place = systems_folder() / SYSTEM
    for name in ("system.yaml", "structure.pdb"):
        shutil.copy(place / name, folder / "system" / name)
    shutil.copy(place / "training.yaml", folder / "configuration")
    _seed_molecules(folder, made[0])
    _seed_more(folder, made, truth)
    for path in (place / "checkpoint-dynamics").iterdir():
        shutil.copy(path, folder / "map of dynamics" / path.name)
    for name in ("model.json", "model.safetensors", "topology.pdb"):
        shutil.copy(place / "checkpoint-beads5" / name, folder / "checkpoint" / name)


def _seed_more(folder: Path, made, truth) -> None:
    """Write what belongs to a folder of data: frames, paths, slow modes, a report."""
    from molflow.analysis.kinetics.slow_modes import SlowModes
    from molflow.data.paths import record_type

    own = folder / "frames of a simulation"
    shutil.copy(folder / "simulation/simulation.json", own / "simulation.json")
    write_json(own / "simulation.json", read_json(own / "simulation.json") | {"replicas": 1})
    made.save_dcd(str(own / "replica-0.dcd"))
    write_arrays(own / "replica-0.npz", energies=np.zeros(20), times=np.arange(20.0))
    own = folder / "paths"
    shutil.copytree(folder / "training set", own, dirs_exist_ok=True)
    (own / PART).parent.mkdir()
    np.save(own / PART, np.zeros(3, record_type(2, 22, 1)))
    manifest = read_json(own / "manifest.json")
    write_json(own / "paths/plan.json", {
        "data_hash": manifest["data_hash"], "order": 1, "block_ps": 0.02,
        "parts": {"part.npy": {"set": "train", "friction": 1.0}},
    })  # fmt: skip
    paths = {"name": "a", "sha256": {"part.npy": ""}}
    write_json(own / "manifest.json", manifest | {"paths": paths})
    SlowModes(
        np.zeros(4), np.eye(4)[:, :2], np.ones(2), np.zeros((3, 2)), np.arange(3), np.eye(3),
        np.full(3, 1 / 3), 10.0, 1.0, SYSTEM, truth.ensemble_hash, 20, 1,
    ).save(folder / "slow modes")  # fmt: skip
    own = folder / "chains of a map"
    rest = np.random.default_rng(0).standard_normal((20, 22, 3))
    write_arrays(own / "c.npz", velocities=rest)
    write_json(own / "c.json", {
        "plan": {
            "weights_sha256": _moved_by().weights_hash, "residual_sha256": None, "path_seed": 0
        },
        "broken": [], "temperature": 300.0, "friction": 1.0, "step_fs": 20.0, "chains": 4,
        "frames_per_chain": 5, "frame_interval_ps": 1.0,
    })  # fmt: skip
    write_json(folder / "report/r.json", {"verdict": {}, "metrics": {}, "validity": {}})
    (folder / "report/r.html").write_text('<section class="verdict good">')


def _seed_molecules(folder: Path, frame) -> None:
    """Write what systems are made of, and a bias on one."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    from molflow.md.bias import TorsionBias

    torsion, table = (4, 6, 8, 14), np.cos(np.linspace(0, 6, 24))
    TorsionBias(((torsion,),), (table,)).save(folder / "bias/bias.npz")
    frame.save_pdb(str(folder / "structure/s.pdb"))
    drawn = Chem.AddHs(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))
    AllChem.EmbedMolecule(drawn, randomSeed=1)
    for target in ("drawn", "bond orders"):
        (folder / target / "m.sdf").write_text(Chem.MolToMolBlock(drawn) + "$$$$\n")
    for target, molecule in (
        ("AMBER", "leucine_dipeptide"), ("CHARMM", "alanine_charmm"),
        ("GROMACS", "alanine_gromacs"), ("System", "aspirin"),
        ("topology.prmtop", "leucine_dipeptide"), ("topology.psf", "alanine_charmm"),
    ):  # fmt: skip
        for path in MOLECULES.glob(f"{molecule}[._]*"):
            shutil.copy(path, folder / target / f"m{path.suffix}")
