"""Labelled frames as a training set for maps of dynamics."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from molflow.data.dataset import HOT, data_hash
from molflow.files import writable_folder, write_arrays, write_json
from molflow.md.forces import dynamics_of, free_masses, write_forces
from molflow.systems import MolecularSystem


class LabelledFrames(NamedTuple):
    """Positions (n, atoms, 3) in nm, forces in kJ/mol/nm and energies (n,) in kJ/mol."""

    positions: np.ndarray
    forces: np.ndarray
    energies: np.ndarray


def write_labelled(
    out: str | Path,
    system: MolecularSystem,
    sets: dict[str, LabelledFrames],
    *,
    plan: dict[str, Any],
    split: dict[str, list[int]],
    hot_temperature: float | None = None,
    **described: Any,
) -> dict[str, Any]:
    """Write what `molflow.data.dataset.load_training_data` and `load_forces` read.

    Parameters
    ----------
    out : path
        Folder.
    system : MolecularSystem
        Under which the frames were labelled.
    sets : dict
        ``train`` and ``validation``, centred, and perhaps ``hot``.
    plan : dict
        What names the labels.
    split : dict
        The runs that were trained on, validated on and held out.
    hot_temperature : float, optional
        K, of hot frames.
    described : Any
        What else is to be known of the labels.

    Returns
    -------
    dict
        The content of ``manifest.json``.
    """
    out, hashes = writable_folder(out), {}
    for name, kept in sets.items():
        if name != HOT:
            write_arrays(out / f"{name}.npz", positions=kept.positions)
        hashes[name] = write_forces(out, name, *kept)
    masses, train = free_masses(system), sets["train"].positions
    text = json.dumps([plan, hashes], sort_keys=True)
    hot = len(sets[HOT].positions) if HOT in sets else 0
    manifest = system.record | {
        "temperature": system.temperature,
        "split": split,
        "frames": {name: len(sets[name].positions) for name in ("train", "validation")},
        "n_atoms": len(masses),
        "atoms": list(range(len(masses))),
        "scale": float(np.sqrt(np.mean(train.astype(np.float64) ** 2))),
        "data_hash": data_hash(train),
        "validation_hash": data_hash(sets["validation"].positions),
        "dynamics": dynamics_of(system, masses, hashes, hot_temperature, hot),
        "labels": {
            "plan": plan, "hash": hashlib.sha256(text.encode()).hexdigest()[:16], **described,
        },
    }  # fmt: skip
    write_json(out / "manifest.json", manifest)
    return manifest
