"""A training set of six beads made on the spot, and a configuration that trains in a second."""

from __future__ import annotations

import numpy as np

from molflow.data.dataset import data_hash
from molflow.data.prepare import centred
from molflow.files import read_arrays, read_json, write_arrays, write_json
from molflow.systems import load_system

SYSTEM = "alanine_dipeptide:beads6"
WORDS = [
    "network.scalars=8", "network.vectors=4", "network.heads=2", "network.layers=1",
    "network.pair_width=4", "map.order=2", "steps=8", "steps_per_epoch=3", "batch_size=6",
    "objective.local_steps=2", "validate_every=2", "validation_samples=64",
    "validation_nfe=[1,2]", "learning_rate_warmup=2", "learning_rate_decay=3",
]  # fmt: skip


def write_training_set(folder, label=SYSTEM, seed=0, validation=30, **changes):
    """Write a training set of jittered copies of the structure; `changes` go to the manifest."""
    system = load_system(label)
    start = system.start_positions()
    start = start if system.atoms is None else start[system.atoms]
    generator = np.random.default_rng(seed)
    arrays = {
        name: centred(start + 0.02 * generator.standard_normal((count, *start.shape)))
        for name, count in (("train", 40), ("validation", validation))
    }
    folder.mkdir()
    for name, positions in arrays.items():
        write_arrays(folder / f"{name}.npz", positions=positions)
    manifest = {
        "system": label,
        "ensemble": system.ensemble,
        "ensemble_hash": system.ensemble_hash,
        "split": {"train": [0, 1], "validation": [2], "held_out": [3]},
        "frames": {name: len(positions) for name, positions in arrays.items()},
        "n_atoms": len(start),
        "scale": float(np.sqrt(np.mean(arrays["train"].astype(float) ** 2))),
        "data_hash": data_hash(arrays["train"]),
        "validation_hash": data_hash(arrays["validation"]),
    }
    write_json(folder / "manifest.json", manifest | changes)
    return folder

DYNAMICS_WORDS = [
    "map.kind=langevin", "map.order=3", "map.longest_lag=0.01", "network.scalars=8",
    "network.vectors=4", "network.heads=2", "network.layers=1", "network.pair_width=4", "steps=8",
    "steps_per_epoch=3", "batch_size=12", "objective.local_steps=2", "objective.rollouts=4",
    "objective.rollout_length=3", "validate_every=2", "validation_samples=16",
    "objective.validation_lags=[0.002,0.01]", "objective.validation_steps=3",
    "learning_rate_warmup=2", "learning_rate_decay=3",
]  # fmt: skip


def add_springs(folder, stiffness=50000.0, hot=10):
    """Add forces to a training set as if springs held each atom at the structure, and hot frames.

    The centre of mass feels no force.
    """
    manifest = read_json(folder / "manifest.json")
    system = load_system(manifest["system"])
    masses = [atom.element.mass for atom in system.topology().atoms]
    share = np.array(masses)[:, None] / sum(masses)
    start = centred(system.start_positions()[None])

    def springs(positions):
        pull = -stiffness * (positions - start)
        return (pull - share * pull.sum(axis=1, keepdims=True)).astype(np.float32)

    hashes = {}
    for name in ("train", "validation"):
        forces = springs(read_arrays(folder / f"{name}.npz")["positions"])
        write_arrays(folder / f"{name}_forces.npz", forces=forces)
        hashes[name] = data_hash(forces)
    if hot:
        positions = start + 2.0 * (read_arrays(folder / "train.npz")["positions"][:hot] - start)
        forces = springs(positions)
        write_arrays(folder / "hot.npz", positions=positions, forces=forces)
        hashes["hot"] = data_hash(forces)
    dynamics = {"masses": masses, "forces_sha256": hashes, "hot_frames": hot}
    write_json(folder / "manifest.json", manifest | {"dynamics": dynamics})
    return folder
