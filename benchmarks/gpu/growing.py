"""Time and memory of large molecules through the sparse network, with weights as they begin."""

from __future__ import annotations

from functools import partial

import large
import numpy as np
import torch
from notes import Notes

from molflow.devices import upload
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths

#: ps
LAG = 1e-6


def growing(notes: Notes, sizes: dict) -> None:
    """Measure steps at each number of atoms, and how they grow."""
    tasks = {
        "propagation": propagation,
        "training": large.training,
        "training, recomputed": partial(large.training, recompute=True),
    }
    for name, make in tasks.items():
        for atoms in sizes["atoms"]:
            notes.take(f"{name}, {atoms}", partial(_cost, notes, make, atoms))
        notes.take(f"{name}, exponents", partial(_exponents, notes, name, sizes["atoms"]))


def propagation(atoms: int, device: torch.device):
    """Return a step of chains, paths drawn and states kept on the device."""
    flow_map, positions = large.dynamics(atoms)
    flow_map = flow_map.to(device)
    chains = large.CHAINS
    x = upload(start_state(flow_map, np.stack([positions] * chains), 0), device)
    motion, paths = Motion(flow_map, chains), ChainPaths(flow_map.basis, chains, atoms, 0)
    return partial(motion.walk, x, paths, 0.0, LAG, 1)


def _cost(notes: Notes, make, atoms: int) -> dict:
    torch.manual_seed(0)
    task = make(atoms, device=notes.device)
    seconds = notes.seconds(task)
    return {
        "atoms": atoms, "seconds": seconds, "bytes": notes.peak(task), "waits": notes.waits(task),
    }  # fmt: skip


def _exponents(notes: Notes, name: str, sizes: list[int]) -> dict:
    """Return slopes of logarithms between the two largest sizes."""
    second, last = (notes.rows[f"{name}, {atoms}"] for atoms in sizes[-2:])
    width = np.log(last["atoms"] / second["atoms"])
    return {
        key: float(np.log(last[key] / second[key]) / width)
        for key in ("seconds", "bytes") if last[key]
    }  # fmt: skip
