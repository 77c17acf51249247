"""A training set of six beads made on the spot, and a configuration that trains in a second."""

from __future__ import annotations

import numpy as np
import torch

from molflow.bonded_terms import BondedTerms
from molflow.brownian.increment import Increment
from molflow.data.dataset import data_hash
from molflow.data.paths import record_type
from molflow.data.prepare import centred
from molflow.files import read_arrays, read_json, sha256_of, write_arrays, write_json
from molflow.sde.underdamped import UnderdampedLangevin
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


def add_free_paths(folder, order=3, blocks=4, frictions=(1.0, 4.0), rows=5):
    """Add paths without any force: where they lead is known from the noise alone."""
    manifest = read_json(folder / "manifest.json")
    masses = torch.tensor(manifest["dynamics"]["masses"], dtype=torch.float64)
    generator, block = torch.Generator().manual_seed(0), torch.tensor(0.005, dtype=torch.float64)
    plan = {"data_hash": manifest["data_hash"], "order": order, "block_ps": 0.005, "parts": {}}
    hashes = {}
    (folder / "paths").mkdir()
    for k, friction in enumerate((*frictions, 2.0)):
        sde = UnderdampedLangevin(None, masses, friction, 300.0)
        kind = "validation" if k == len(frictions) else "train"
        shape = (rows, 2, len(masses), 3)
        states = [0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)]
        noise = torch.randn(
            rows, blocks, len(masses), 3, order + 1, generator=generator, dtype=torch.float64
        )
        for z in noise.unbind(1):
            increment = Increment.from_whitened(sde.basis(order), block, z)
            none = torch.zeros_like(states[-1])
            states.append(sde.apply(0.0 * block, block, states[-1], none, increment))
        records = np.empty(rows, record_type(len(masses), blocks, order))
        records["states"], records["noise"] = torch.stack(states, dim=1), noise
        records["hot"] = False
        name = f"{kind}-{k:04d}.npy"
        np.save(folder / "paths" / name, records)
        hashes[name] = sha256_of(folder / "paths" / name)
        plan["parts"][name] = {"set": kind, "friction": friction}
    write_json(folder / "paths" / "plan.json", plan)
    stored = {"sha256": hashes, "name": "free"}
    write_json(folder / "manifest.json", manifest | {"paths": stored})
    return folder


def name_bonds(folder, stiffness=20000.0):
    """Have a training set with forces name harmonic bonds, as long as in the structure."""
    manifest = read_json(folder / "manifest.json")
    system = load_system(manifest["system"])
    start = system.start_positions()
    pairs = [(a.index, b.index) for a, b in system.topology().bonds]
    lengths = [float(np.linalg.norm(start[i] - start[j])) for i, j in pairs]
    bonds = [(*pair, length, stiffness) for pair, length in zip(pairs, lengths, strict=True)]
    bonded = BondedTerms(bonds=tuple(bonds)).to_dict()
    dynamics = manifest["dynamics"] | {"bonded": bonded}
    write_json(folder / "manifest.json", manifest | {"dynamics": dynamics})
    return folder
