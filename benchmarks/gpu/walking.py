"""How far chains of the shipped map of dynamics come in a day of the clock."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from arithmetic import precision
from drawing import SYSTEM
from notes import Notes

from molflow.devices import upload
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths
from molflow.training.checkpoint import load_checkpoint

#: ps, and steps between two times that frames would be saved.
LAG, STEPS = 0.02, 5
#: K, 1/ps
STATE = 300.0, 1.0


class Walk:
    """Chains that go on from where they are, one interval after the other.

    What watches them in ``molflow propagate`` is left out, a few sums over atoms a step.
    """

    def __init__(self, device: torch.device, chains: int, compiled: bool = False):
        given = load_checkpoint(f"{SYSTEM}:dynamics", device)
        self.flow_map = given.flow_map.at(*STATE)
        if compiled:
            self.flow_map.compile_parts()
        positions = np.stack([_positions(given.topology_path)] * chains)
        self.motion = Motion(self.flow_map, chains)
        self.paths = ChainPaths(self.flow_map.basis, chains, given.n_atoms, 0)
        self.x = upload(start_state(self.flow_map, positions, 0), device)
        self.done = 0

    def on(self) -> None:
        """Walk an interval further and read the states, as they would be saved."""
        start = self.done * LAG
        self.x = self.motion.walk(self.x, self.paths, start, STEPS * LAG, STEPS)
        self.x.cpu()
        self.done += STEPS

    def draw(self) -> None:
        """Only draw the paths of an interval."""
        for k in range(self.done, self.done + STEPS):
            self.paths.increment(k * LAG, (k + 1) * LAG)
        self.done += STEPS


def walking(notes: Notes, sizes: dict) -> None:
    """Measure at each number of chains in float32, at the largest with TF32 as well."""
    for chains in sizes["chains"]:
        notes.take(f"{chains}, float32", partial(_rate, notes, chains, "float32"))
    notes.take(f"{chains}, tf32", partial(_rate, notes, chains, "tf32"))


def compiled_walking(notes: Notes, sizes: dict, name: str) -> None:
    """Measure the compiled network at the largest number of chains."""
    chains = sizes["chains"][-1]
    notes.take(f"{chains}, {name}, compiled", partial(_rate, notes, chains, name, compiled=True))


def _rate(notes: Notes, chains: int, name: str, compiled: bool = False) -> dict:
    walk = Walk(notes.device, chains, compiled)
    begun = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(precision(name, walk.flow_map.network))
        walk.on()
        first = time.perf_counter() - begun
        seconds = notes.seconds(walk.on) / STEPS
        finite = bool(walk.x.isfinite().all())
        waits, peak = notes.waits(walk.on), notes.peak(walk.on)
        drawn = notes.seconds(walk.draw) / STEPS
    return {
        "chains": chains, "lag_ps": LAG, "seconds_of_a_step": seconds,
        "ns_a_day": 86.4 * chains * LAG / seconds, "seconds_of_drawing_paths": drawn,
        "seconds_of_the_first": first, "finite": finite, "waits": waits, "peak_bytes": peak,
    }  # fmt: skip


def _positions(path) -> np.ndarray:
    """Return the positions of a PDB file of one model, nm."""
    rows = [
        [float(line[column : column + 8]) for column in (30, 38, 46)]
        for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))
    ]  # fmt: skip
    return 0.1 * np.array(rows)
