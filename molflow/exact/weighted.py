"""`molflow sample --weights`: conformations with Boltzmann weights, resumable."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule
from molflow.exact.physics import BoltzmannLaw
from molflow.exact.strata import choose, count_strata, parse_strata, strata_of
from molflow.exact.target import target_of
from molflow.exact.trust import format_weights, judge_weights
from molflow.exact.weighted_piece import PIECE, Wanted, WeightedPieces
from molflow.farm import Jobs
from molflow.files import (
    read_arrays,
    read_json,
    writable_folder,
    write_arrays,
)
from molflow.maps.denoiser.probability_flow import flow_times
from molflow.parts import alone, claim_parts, finished, write_record
from molflow.sampling.pool import Workplace, open_workplace
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import Checkpoint
from molflow.trajectories import (
    check_extension,
    check_topology,
    read_trajectory,
    write_topology,
    write_trajectory,
)

#: σ in units of the data at which the molecule is whole but for vibrations.
STOP = 0.12
#: Seconds of one core that a sample may cost.
DEAREST = 60.0
#: Samples from which on recording the derivatives pays.
_RECORDED = 256
#: What a derivative costs, in calls of the network.
_TANGENT = 1.8


@alone
def sample_weighted(
    checkpoint: str | Path | Checkpoint,
    n: int = 1000,
    out: str | Path | None = None,
    steps: int = 4,
    stop: float = STOP,
    path_seed: int = 0,
    device: str | None = None,
    jobs: Jobs = None,
    compiled: bool = False,
    schedule: Schedule | None = None,
    progress: bool = True,
    temperature: str | float | None = None,
    target: str | Path | None = None,
    strata: dict[str, int] | None = None,
):
    """Draw conformations from the flow of a map, with weights that make them Boltzmann's.

    The flow goes from noise to σ = `stop` in `steps` calls of the network, and its density there
    is computed by exact Jacobians. From there annealed importance sampling under the force field
    draws the conformation and gives an unbiased estimate of the target's density with noise:
    ln w = ln Ẑ(y) − ln q(y). Means with these weights converge to those of the Boltzmann law of
    the system at its temperature, in the hand of its structure, whatever the map's errors; how fast
    is told by the spread of the weights.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        Of a system with all atoms, whose force field is here.
    n : int
        Conformations; with `strata` draws that they are chosen from.
    out : path, optional
        Trajectory, with ``topology.pdb``, the record (``.json``) and ``.npz`` beside it:
        ``energies`` (kJ/mol), ``log_weights`` (natural logarithms up to a constant) and
        ``log_density`` of the flow. Finished pieces are kept in a folder beside it until the end:
        the same call resumes.
    steps : int
        Calls of the network a sample.
    stop : float
        σ at which physics takes over, in units of the spread of the data; 0 lets the flow go to
        its end, without a step by physics.
    path_seed : int
        Of everything random; the starts are those of `molflow.sample`.
    device : str, optional
        As for `molflow.sample`.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core, on a GPU one.
        The result does not depend on it.
    compiled : bool
        Whether to compile the derivatives first: twice as fast, after minutes.
    schedule : Schedule, optional
        Of the annealing.
    progress : bool
    temperature : float or str, optional
        K, of the Boltzmann law that the weights are for; by default that of the system. The
        samples are the same map's: the further away, the fewer count.
    target : str or path, optional
        System with the same atoms in the same order whose force field or potential the weights are
        for; by default that of the checkpoint.
    strata : dict of str to int, optional
        How many conformations of each basin (beta, alpha_r, alpha_l) are weighed, or all that
        there are: n samples are drawn without a density, sorted by the basin where the flow ends,
        and weights count how many draws a conformation stands for.

    Returns
    -------
    trajectory : mdtraj.Trajectory
    weighted : dict
        ``log_weights`` (n,), and ``record``, JSON-safe: cost, spread of the weights, and doubts.

    Raises
    ------
    MolflowError
        If an argument is impossible, there is no force field, the system has constraints, a
        sample would cost more than `DEAREST` seconds, or no sample has a weight.
    """
    import mdtraj

    for name, value in (("steps", steps), ("n", n)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise MolflowError(f"{name} is {value!r}: it must be a whole number, at least 1.")
    place = open_workplace(checkpoint, device, jobs)
    checkpoint = place.checkpoint
    checkpoint.check_use("sample")
    system = target_of(checkpoint, target, temperature)
    flow_map: Any = checkpoint.flow_map  # of a kind that samples
    flow_times(flow_map, steps, stop or None)
    BoltzmannLaw(system, checkpoint.scale)  # refused here rather than in every process
    wanted = Wanted(
        system, steps, stop or None, path_seed, schedule or Schedule(),
        recorded=n >= _RECORDED, compiled=compiled,
    )  # fmt: skip
    topology = checkpoint.topology()
    plan = _plan(checkpoint, wanted, n, strata)
    parts = None
    if out is not None:
        out = check_extension(out)
        writable_folder(out.parent)
        check_topology(out, topology)
        if finished(out, plan):
            found = read_arrays(out.with_suffix(".npz"))
            record = read_json(out.with_suffix(".json"))["weighted"]
            weighted = {"log_weights": found["log_weights"], "record": record}
            return read_trajectory(out, topology), weighted
    check_price(checkpoint, steps)
    if out is not None:
        parts = claim_parts(out, plan)
    began = time.perf_counter()
    numbers, chosen, seconds = np.arange(n), None, 0.0
    if strata is not None:
        basins, seconds = strata_of(
            checkpoint, n, steps, wanted.stop, path_seed, parts, progress
        )  # fmt: skip
        numbers, log_factors = choose(basins, strata)
        chosen = count_strata(basins, basins[numbers])
    found = _all_pieces(place, wanted, numbers, parts, progress)
    if strata is not None:
        found["log_factors"] = log_factors
        found["log_weights"] = found["log_weights"] + log_factors
    trajectory = mdtraj.Trajectory(
        found["positions"], topology, time=np.arange(len(numbers), dtype=float)
    )
    record = _record(checkpoint, wanted, found, trajectory, chosen, seconds)
    if out is not None:
        _write(out, checkpoint, wanted.system, found, plan, record, time.perf_counter() - began)
        if parts is not None:
            shutil.rmtree(parts)
    return trajectory, {"log_weights": found["log_weights"], "record": record}


def sample_and_tell(
    checkpoint, n, out, steps, stop, path_seed, device, jobs, quiet, temperature, target, strata
) -> str:
    """Run `sample_weighted` as the command line asks for it, and return what it says."""
    stop = STOP if stop is None else stop
    trajectory, weighted = sample_weighted(
        checkpoint, n, out, steps, stop, path_seed, device, jobs, progress=not quiet,
        temperature=temperature, target=target,
        strata=None if strata is None else parse_strata(strata),
    )  # fmt: skip
    head = f"{trajectory.n_frames} conformations in {out}, log_weights in the .npz beside it."
    return f"{head}\n{format_weights(weighted['record'])}"


def check_price(checkpoint: Checkpoint, steps: int) -> None:
    """Raise `MolflowError` if a sample's Jacobian would cost more than `DEAREST` seconds."""
    flow_map: Any = checkpoint.flow_map
    n_atoms = checkpoint.n_atoms
    example = next(flow_map.parameters())
    x = torch.randn(2, n_atoms, 3, generator=torch.Generator().manual_seed(0)).to(example)
    time_ = example.new_full((2,), flow_map.sde.duration / 2.0)
    with torch.no_grad():
        for _ in range(2):  # the first call also makes what later ones find
            # Of the processor: on a busy machine waiting is not what a sample costs.
            began = time.process_time()
            flow_map.mean(time_, time_, x, flow_map.no_features(x))
            seconds = (time.process_time() - began) / len(x)
    tangents = steps * (3 * n_atoms - 6)
    price = _TANGENT * tangents * seconds
    if price > DEAREST:
        raise MolflowError(
            f"a weighted sample of {n_atoms} atoms takes {tangents:,} derivatives of the network, "
            f"about {price:,.0f} seconds here, and {DEAREST:g} are the most: use fewer steps, a "
            "smaller molecule or a faster device, or molflow refine, which needs no density."
        )


def _plan(checkpoint: Checkpoint, wanted: Wanted, n: int, strata: dict | None) -> dict:
    other = wanted.system.ensemble_hash != checkpoint.description["ensemble_hash"]
    return {
        **({"target_hash": wanted.system.ensemble_hash} if other else {}),
        **({"strata": strata} if strata else {}),
        "weights_sha256": checkpoint.weights_hash,
        "weighted": True,
        "steps": wanted.steps,
        "stop": wanted.stop,
        "n": n,
        "path_seed": wanted.path_seed,
        "annealing": vars(wanted.schedule),
        "recorded": wanted.recorded,
        "compiled": wanted.compiled,
    }


def _all_pieces(
    place: Workplace, wanted: Wanted, numbers: np.ndarray, parts: Path | None, progress: bool
) -> dict[str, np.ndarray]:
    count = -(-len(numbers) // PIECE)
    # The last is filled up with its last number: all pieces have one shape.
    rows = np.pad(numbers, (0, count * PIECE - len(numbers)), mode="edge").reshape(count, PIECE)
    names = {k: None if parts is None else parts / f"weighted-{k:07d}.npz" for k in range(count)}
    tasks, title = {k: (rows[k],) for k in names}, f"weighting, {PIECE} at a time"
    found = place.pieces(WeightedPieces, wanted, tasks, names, title, progress)
    order = sorted(found)
    joined = {
        name: np.concatenate([found[k][name] for k in order])[: len(numbers)]
        for name in found[order[0]]
        if name != "seconds"
    }
    joined["seconds"] = np.sum([found[k]["seconds"] for k in order], axis=0) / (PIECE * len(order))
    return joined


def _record(
    checkpoint: Checkpoint, wanted: Wanted, found: dict, trajectory, chosen: dict | None,
    choosing: float,
) -> dict:  # fmt: skip
    flow_seconds, physics_seconds = (float(part) for part in found["seconds"])
    seconds = flow_seconds + physics_seconds + choosing / len(found["log_weights"])
    spread = judge_weights(
        found["log_weights"], found["sign"], trajectory, found.get("log_factors")
    )
    acceptance = found["acceptance"][np.isfinite(found["acceptance"])]
    return {
        **({"strata": chosen} if chosen else {}),
        "calls": wanted.steps,
        "tangents": wanted.steps * (3 * checkpoint.n_atoms - 6),
        "stop": wanted.stop,
        "temperature_K": wanted.system.temperature,
        "force_calls": float(found["force_calls"].mean()),
        "acceptance": float(acceptance.mean()) if len(acceptance) else None,
        "cpu_seconds_per_sample": seconds,
        "jacobian_share": flow_seconds / seconds,
        "effective_per_core_second": spread["effective"] / (spread["n"] * seconds),
        "spread": spread,
    }


def _write(
    out: Path, checkpoint: Checkpoint, target: MolecularSystem, found, plan, record, seconds: float
) -> None:
    write_topology(out, checkpoint.topology_path)
    write_trajectory(out, found["positions"], checkpoint.topology())
    kept = ("energies", "log_weights", "log_density", "log_factors")
    write_arrays(out.with_suffix(".npz"), **{name: found[name] for name in kept if name in found})
    write_record(
        out,
        {
            **{name: value for name, value in target.record.items() if name != "ensemble"},
            "training_replicas": checkpoint.description["split"]["train"],
            "n": len(found["log_weights"]),
            "nfe": plan["steps"],
            "plan": plan,
            "weighted": record,
            "checkpoint": checkpoint.provenance,
            "seconds": round(seconds, 2),
        },
    )
