"""Time and memory of large molecules through the sparse network, with weights as they begin."""

from __future__ import annotations

from functools import partial

import large
import numpy as np
import torch
from notes import Notes
from peptides import peptide, places

from molflow.devices import upload
from molflow.nn.molecules import REACH
from molflow.nn.neighbours import nearest
from molflow.nn.sorted_search import sorted_search
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths

#: ps
LAG = 1e-6
#: As many as networks look for.
NEIGHBOURS = 32


def growing(notes: Notes, sizes: dict) -> None:
    """Measure steps at each number of atoms, and how they grow."""
    for atoms in sizes["atoms"]:
        notes.take(f"search, {atoms}", partial(_search, notes, atoms))
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


def _search(notes: Notes, atoms: int) -> dict:
    """Return what the search for neighbours takes, and how many rows are not the processor's."""
    graph = peptide(atoms)
    x, first = torch.from_numpy(places(graph)).double(), torch.tensor([0, atoms])
    pairs = torch.tensor([(j, i) for i, j, _ in graph.pairs_within(REACH)]).T
    given = [x, first, torch.arange(atoms), pairs]
    there = [value.to(notes.device) for value in given]
    task = partial(sorted_search, *there, NEIGHBOURS)
    strange = (task().cpu() != nearest(*given, NEIGHBOURS)).any(1).sum()
    return {
        "atoms": atoms, "seconds": notes.seconds(task), "bytes": notes.peak(task),
        "waits": notes.waits(task), "other_rows": int(strange),
    }  # fmt: skip


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
