"""Time and memory of large molecules through the sparse network, with weights as they begin."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from peptides import MASSES, peptide, places
from record import once

from molflow.nn.graph import MolecularGraph

if TYPE_CHECKING:  # absent from machines that only train
    import mdtraj

#: Atoms, and molecules in a training step.
SIZES, BATCH = (500, 2000, 10_000), 2
#: Network calls of a sample, steps and chains of a propagation.
CALLS, STEPS, CHAINS = 2, 3, 2
TASKS = ("training", "training, recomputed", "sampling", "propagation")
#: Without recomputation 10,000 atoms need more memory than many a machine has.
LARGEST = {"training": 2000}


def topology_of(graph: MolecularGraph) -> mdtraj.Topology:
    """Return the `mdtraj.Topology` of a molecule, in one chain."""
    import mdtraj

    topology = mdtraj.Topology()
    only, residue, label = topology.add_chain(), None, None
    for number, name, kind in zip(graph.elements, graph.names, graph.residues, strict=True):
        where, _, own = name.partition("-")
        if where != label:
            residue, label = topology.add_residue(kind, only), where
        topology.add_atom(own, mdtraj.core.element.Element.getByAtomicNumber(number), residue)
    every = list(topology.atoms)
    for i, j in graph.bonds:
        topology.add_bond(every[i], every[j])
    return topology


def training(atoms: int, recompute: bool = False, device: str = "cpu") -> Callable[[], object]:
    """Return one step of training a map that samples, its optimiser's included."""
    from molflow.maps.denoiser.batches import StepBatches, TimeLaw
    from molflow.maps.denoiser.objective import DenoiserObjective
    from molflow.objectives.norm import mean_square
    from molflow.objectives.registry import OBJECTIVES
    from molflow.training.configuration import TrainingConfig
    from molflow.training.fit import Epoch
    from molflow.training.module import FlowMapTraining

    config = TrainingConfig(
        batch_size=BATCH, network={"kind": "sparse", "recompute": recompute},
        objective={"local_steps": 0},
    )  # fmt: skip
    flow_map, positions = _map(atoms, config)
    frames = torch.from_numpy(np.stack([positions, positions])) / positions.std()
    law = TimeLaw(flow_map.clock, config.objective)
    batches = StepBatches(frames, law, flow_map.basis.size, BATCH, [2], 0, Epoch(0, 0, 1))
    objective = DenoiserObjective(OBJECTIVES["semigroup"], partial(mean_square))
    module = FlowMapTraining(flow_map, objective, config)
    module.log = lambda *given, **settings: None  # there is no trainer
    module.to(device)
    batch = module.transfer_batch_to_device(batches[0], torch.device(device), 0)
    optimiser = torch.optim.AdamW(module.parameters_to_train())

    def step() -> None:
        optimiser.zero_grad()
        module.training_step(batch, 0).backward()
        optimiser.step()

    return step


def sampling(atoms: int) -> Callable[[], object]:
    """Return the drawing of a block of conformations."""
    from molflow.brownian.path import BrownianPath
    from molflow.flow_map.rollout import rollout
    from molflow.maps.denoiser.draw import start_positions
    from molflow.training.configuration import TrainingConfig

    flow_map, _ = _map(atoms, TrainingConfig(network={"kind": "sparse"}))
    flow_map.eval()

    def draw() -> None:
        x = start_positions(flow_map, BATCH, atoms, 0)
        path = BrownianPath(flow_map.basis, 0.0, flow_map.sde.duration, tuple(x.shape), 0)
        with torch.no_grad():
            rollout(flow_map, x, path, flow_map.clock.grid(CALLS))

    return draw


def propagation(atoms: int) -> Callable[[], object]:
    """Return a few steps of chains, watched and with all that a run makes first."""
    import mdtraj

    from molflow.propagation.chains import Chains, Wanted
    from molflow.propagation.request import Request
    from molflow.training.checkpoint import Checkpoint

    flow_map, positions = dynamics(atoms)
    request = Request(CHAINS, STEPS, 1e-6, 1, 300.0, 1.0, 0)
    folder = Path(tempfile.mkdtemp())
    frame = mdtraj.Trajectory(positions, topology_of(peptide(atoms)))
    frame.save_pdb(str(folder / "topology.pdb"), bfactors=None)
    description = {"configuration": {"map": {"kind": "langevin"}}}
    given = Checkpoint(flow_map, description, folder)

    def walk() -> None:
        start = np.stack([positions.astype(np.float64)] * CHAINS)
        Chains(given, Wanted(request, start, keep_going=True)).segment(range(CHAINS), 0, None)

    return walk


def dynamics(atoms: int):
    """Return an untrained map of Langevin dynamics through the sparse network, and positions."""
    from molflow.maps.dynamics.scales import LangevinScales
    from molflow.training.configuration import TrainingConfig
    from molflow.training.kinds import build_flow_map

    graph = peptide(atoms)
    positions = places(graph)
    masses = tuple(MASSES[number] for number in graph.elements)
    scales = LangevinScales(masses, (1e3,) * atoms, float(positions.std()), 300.0, 1.0, 0.04)
    config = TrainingConfig(map={"kind": "langevin"}, network={"kind": "sparse"})
    return build_flow_map(graph, config.network, config.map, scales).eval(), positions


def _map(atoms: int, config):
    from molflow.training.kinds import build_flow_map

    graph = peptide(atoms)
    positions = places(graph)
    return build_flow_map(graph, config.network, config.map), positions - positions.mean(0)


def measured(task: str, atoms: int) -> dict:
    """Return processor seconds and memory of a task, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = {
        "training": training, "training, recomputed": partial(training, recompute=True),
        "sampling": sampling, "propagation": propagation,
    }[task](atoms)  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    made()
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "bytes": 1024 * (peak - before), "peak_bytes": 1024 * peak}


def exponents(work: Path) -> dict:
    """Measure every task at every size in a process of its own, once."""
    found: dict = {}
    for task in TASKS:
        found[task] = {}
        for atoms in (size for size in SIZES if size <= LARGEST.get(task, size)):
            name = f"{task.replace(', ', '-')}-{atoms}.json"
            found[task][str(atoms)] = once(work / name, partial(_apart, task, atoms))
    return {"rows": found, "exponents": {task: _slopes(rows) for task, rows in found.items()}}


def _apart(task: str, atoms: int) -> dict:
    words = [sys.executable, __file__, "--task", task, "--atoms", str(atoms)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _slopes(rows: dict) -> dict:
    """Return slopes of logarithms between the two largest sizes."""
    second, last = sorted(map(int, rows))[-2:]
    width = np.log(last / second)
    return {
        name: float(np.log(rows[str(last)][name] / rows[str(second)][name]) / width)
        for name in ("seconds", "bytes")
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--atoms", type=int, required=True)
    options = parser.parse_args()
    print(json.dumps(measured(options.task, options.atoms)))
