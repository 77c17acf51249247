"""How fast the shipped map draws conformations, and what coarser arithmetic does to them."""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from functools import partial

import torch
from arithmetic import PRECISIONS, precision, recorded
from notes import Notes

from molflow.devices import upload
from molflow.flow_map.rollout import rollout
from molflow.maps.denoiser.draw import BLOCK, BlockPaths, draw_blocks, start_positions
from molflow.seeds import derive_seed
from molflow.training.checkpoint import load_checkpoint

SYSTEM, SEED = "alanine_dipeptide", 0


class Drawn:
    """Increments that stand on the device already: a walk along them asks the processor nothing."""

    def __init__(self, paths: BlockPaths):
        self.paths, self.kept = paths, {}

    def snap(self, t: float) -> float:
        """Return the nearest time that the paths know."""
        return self.paths.snap(t)

    def increment(self, s: float, t: float):
        """Return the increment from s to t."""
        if (s, t) not in self.kept:
            self.kept[s, t] = self.paths.increment(s, t)
        return self.kept[s, t]


class Map:
    """The shipped map on a device."""

    def __init__(self, device: torch.device):
        self.given = load_checkpoint(SYSTEM, device)
        self.flow_map, self.device = self.given.flow_map, device
        self.walks: dict = {}

    def whole(self, count: int, calls: int) -> torch.Tensor:
        """Draw as ``molflow sample`` does, to positions on the processor, nm."""
        blocks = range(-(-count // BLOCK))
        with torch.no_grad():
            drawn = draw_blocks(self.flow_map, blocks, calls, SEED, self.given.n_atoms)
            return (self.given.scale * drawn).cpu()

    def walk(self, count: int, calls: int):
        """Return the walk alone, from starts along paths that stand on the device; unit scale.

        The paths are kept: to draw them takes longer than all else.
        """
        if (count, calls) not in self.walks:
            self.walks[count, calls] = self._walk(count, calls)
        return self.walks[count, calls]

    def _walk(self, count: int, calls: int):
        flow_map, atoms = self.flow_map, self.given.n_atoms
        seeds = [derive_seed(SEED, "block", block) for block in range(-(-count // BLOCK))]
        starts = torch.cat([start_positions(flow_map, BLOCK, atoms, seed) for seed in seeds])
        x = upload(starts, self.device)
        paths = Drawn(BlockPaths(flow_map.basis, flow_map.sde.duration, seeds, atoms, self.device))

        def task() -> torch.Tensor:
            with torch.no_grad():
                return rollout(flow_map, x, paths, flow_map.clock.grid(calls))

        return task


def drawing(notes: Notes, sizes: dict) -> None:
    """Measure rates against batches and calls, then precisions and graphs at some batches."""
    here = Map(notes.device)
    calls, batches = sizes["calls"], sizes["batches"]
    pairs = [(batch, 4) for batch in batches]
    pairs += [(sizes["some_batches"][-1], k) for k in calls if k != 4]

    def rates(batch: int, k: int) -> dict:
        task = here.walk(batch, k)
        walk = notes.seconds(task)
        whole = notes.seconds(partial(here.whole, batch, k), once=True)
        return {
            "batch": batch, "calls": k, "a_second": batch / whole,
            "a_second_of_walks": batch / walk, "waits_of_walk": notes.waits(task),
            "peak_bytes": notes.peak(task),
        }  # fmt: skip

    notes.take("64 at 4, from the processor's", partial(_against_processor, here))
    for batch, k in pairs:
        notes.take(f"{batch} at {k}", partial(rates, batch, k))
    for batch in sizes["some_batches"]:
        for graph in (False, True):
            for name in PRECISIONS:
                label = f"{batch}, {name}" + (", graph" if graph else "")
                notes.take(label, partial(_compared, notes, here, batch, name, graph))


def _against_processor(here: Map) -> dict:
    """Return how far the same conformations are from those that the processor draws, nm."""
    away = (here.whole(BLOCK, 4) - Map(torch.device("cpu")).whole(BLOCK, 4)).norm(dim=-1)
    return {"rms_nm": float(away.square().mean().sqrt()), "largest_nm": float(away.max())}


def compiled_drawing(notes: Notes, sizes: dict, name: str) -> None:
    """Measure the compiled network in one precision, then that as a graph."""
    here = Map(notes.device)
    plain = {batch: here.walk(batch, 4)() for batch in sizes["some_batches"]}
    here.flow_map.compile_parts()
    for batch in sizes["some_batches"]:
        for graph in (False, True):
            label = f"{batch}, {name}, compiled" + (", graph" if graph else "")
            make = partial(_compared, notes, here, batch, name, graph, plain[batch])
            notes.take(label, make)


def _compared(
    notes: Notes, here: Map, batch: int, name: str, graph: bool, plain: torch.Tensor | None = None
) -> dict:
    """Return the rate of walks at 4 calls, and how far the positions are from those of plain
    float32, nm."""
    task, network = here.walk(batch, 4), here.flow_map.network
    plain = task() if plain is None else plain
    begun = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(precision(name, network))
        if graph and notes.device.type != "cuda":
            return {"failed": "there are CUDA graphs on a GPU only"}
        stack.enter_context(recorded(here.flow_map) if graph else nullcontext())
        found = task()
        notes.wait()
        first = time.perf_counter() - begun
        seconds = notes.seconds(task)
    away = here.given.scale * (found - plain).double().norm(dim=-1)
    return {
        "batch": batch, "calls": 4, "a_second_of_walks": batch / seconds,
        "seconds_of_the_first": first, "rms_nm": float(away.square().mean().sqrt()),
        "median_nm": float(away.median()), "largest_nm": float(away.max()),
    }  # fmt: skip
