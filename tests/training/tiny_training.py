"""A training set of six beads made on the spot, and a configuration that trains in a second."""

from __future__ import annotations

import numpy as np

from molflow.data.dataset import data_hash
from molflow.data.prepare import centred
from molflow.files import write_arrays, write_json
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
