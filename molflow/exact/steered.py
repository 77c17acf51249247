"""`molflow sample --reward`: conformations of a map's law times exp(-E/kT), with weights."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import cast

import mdtraj
import numpy as np
import torch

from molflow.analysis.weighting import effective_size, normalised
from molflow.errors import MolflowError
from molflow.exact.reward import Reward, energies_by, load_reward
from molflow.exact.steering import Steering, log_mean
from molflow.files import (
    read_arrays,
    read_json,
    writable_folder,
    write_arrays,
)
from molflow.maps.denoiser.draw import start_variance
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.parts import alone, claim_parts, finished, kept_arrays, write_record
from molflow.progress import track
from molflow.sampling.energies import energies_of
from molflow.seeds import generator
from molflow.training.checkpoint import Checkpoint, open_checkpoint
from molflow.trajectories import (
    check_extension,
    check_topology,
    read_trajectory,
    write_topology,
    write_trajectory,
)
from molflow.units import thermal_energy

#: Most particles of a group; groups know nothing of each other.
GROUP = 256
#: Lines of descent below which means say little.
FEWEST = 20
#: More than the starts that a group can have.
_STARTS = 1_000_000
#: What the weighted conformations are of.
STATEMENT = "the map's own law at these steps times exp(-E/kT): what the map has wrong stays wrong"


@alone
def sample_steered(
    checkpoint: str | Path | Checkpoint,
    reward: str | Reward,
    n: int = 1024,
    out: str | Path | None = None,
    steps: int = 4,
    moves: int = 2,
    path_seed: int = 0,
    device: str | None = None,
    progress: bool = True,
):
    """Draw conformations of a map's law times exp(-E/kT), E a function of conformations.

    Groups of particles look ahead along their Brownian paths by one call of the network, are chosen
    by E, moved, and taken to the full number of steps (`Steering`). Nothing but values of E is
    needed, and nothing is assumed of the map: the weighted conformations are of its law at these
    steps times exp(-E/kT), the more exactly the more particles there are.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
    reward : str or callable
        ``FILE.py:FUNCTION``, which is run, or a function of an `mdtraj.Trajectory` that returns E
        in kJ/mol, one a frame, as if it were added to the force field: low where conformations
        are wanted, infinite where they may not be. It also sees conformations of one call.
    n : int
        Conformations, in groups of at most `GROUP`.
    out : path, optional
        Trajectory, with ``topology.pdb``, the record (``.json``) and ``.npz`` beside it:
        ``log_weights``, ``reward_energies`` and, if there is a force field, ``energies`` (kJ/mol),
        and ``ancestors``, the number of the start that each comes from. With a reward from a
        file finished groups are kept beside it until the end: the same call resumes.
    steps : int
        Jumps of a sample.
    moves : int
        Moves on Brownian paths after each law, each of one call.
    path_seed : int
        Of everything random.
    device : str, optional
        As for `molflow.sample`.
    progress : bool

    Returns
    -------
    trajectory : mdtraj.Trajectory
    steered : dict
        ``log_weights`` (n,), and ``record``, JSON-safe: ``effective`` size, ``lineages`` (the
        effective number of starts that they come from), ``acceptance``, ``calls`` of the network a
        conformation, ``free_energy`` (kJ/mol) of adding E with its standard ``error``, ``doubts``.

    Raises
    ------
    MolflowError
        If an argument is impossible, the reward fails, or it forbids all that the map gives.
    """
    for name, value, least in (("n", n, 2), ("steps", steps, 1), ("moves", moves, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MolflowError(f"{name} is {value!r}: it must be a whole number, at least {least}.")
    checkpoint = open_checkpoint(checkpoint, device)
    checkpoint.check_use("sample")
    function, origin = load_reward(reward) if isinstance(reward, str) else (reward, None)
    topology = checkpoint.topology()
    plan = {
        "weights_sha256": checkpoint.weights_hash, "reward": origin, "steps": steps, "n": n,
        "moves": moves, "path_seed": path_seed,
    }  # fmt: skip
    parts = None
    if out is not None:
        out = check_extension(out)
        writable_folder(out.parent)
        check_topology(out, topology)
        if origin is not None:
            if finished(out, plan):
                record = read_json(out.with_suffix(".json"))["steered"]
                weights = read_arrays(out.with_suffix(".npz"))["log_weights"]
                return read_trajectory(out, topology), {"log_weights": weights, "record": record}
            parts = claim_parts(out, plan)
    began = time.perf_counter()
    groups = _groups(checkpoint, function, plan, parts, progress)
    found = {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}
    trajectory = mdtraj.Trajectory(found["positions"], topology, time=np.arange(n, dtype=float))
    record = _record(checkpoint, groups)
    if out is not None:
        _write(out, checkpoint, found, plan, record, time.perf_counter() - began)
        if parts is not None:
            shutil.rmtree(parts)
    return trajectory, {"log_weights": found["log_weights"], "record": record}


def format_steered(record: dict) -> str:
    """Return what the command line says of steered samples."""
    error = record["error"]
    lines = [
        f"{record['effective']:.0f} effective of {record['n']} conformations, from "
        f"{record['lineages']:.0f} effective starts; {record['calls']:.0f} network calls each, "
        f"{record['acceptance']:.0%} of moves accepted",
        f"free energy of adding the reward's: {record['free_energy']:.2f}"
        + ("" if error is None else f" ± {error:.2f}")
        + " kJ/mol",
        f"It is {record['statement']}.",
    ]
    lines += [f"Not to be trusted as it is: {sentence}" for sentence in record["doubts"]]
    return "\n".join(lines)


def _groups(checkpoint: Checkpoint, reward: Reward, plan: dict, parts, progress) -> list[dict]:
    flow_map = cast(DenoiserFlowMap, checkpoint.flow_map)  # of a kind that samples
    topology, atoms = checkpoint.topology(), checkpoint.n_atoms
    kt = _kt(checkpoint)

    def energy(x: torch.Tensor) -> np.ndarray:
        positions = (checkpoint.scale * x).cpu().numpy().astype(np.float32)
        whole = np.isfinite(positions).all(axis=(1, 2))
        energies = np.full(len(positions), np.inf)
        if whole.any():
            seen = mdtraj.Trajectory(positions[whole], topology)
            energies[whole] = energies_by(reward, seen) / kt
        return energies

    steering = Steering(
        flow_map, flow_map.clock.grid(plan["steps"]), start_variance(flow_map) ** 0.5,
        energy, plan["moves"],
    )  # fmt: skip
    seed, count = plan["path_seed"], -(-plan["n"] // GROUP)
    rungs = None if parts is None else kept_arrays(parts / "ladder.npz")
    if rungs is None:
        found = steering.ladder(GROUP, atoms, generator(seed, "steering", "ladder"))
        rungs = {"ladder": np.array(found)}
        if parts is not None:
            write_arrays(parts / "ladder.npz", **rungs)
    ladder = [float(rung) for rung in rungs["ladder"]]
    groups, first = [], 0
    for k in track(range(count), f"steering, {GROUP} at a time", progress):
        size = (plan["n"] - first) // (count - k)
        place = None if parts is None else parts / f"group-{k:06d}.npz"
        group = kept_arrays(place)
        if group is None:
            made = steering.run(size, atoms, ladder, generator(seed, "steering", k))
            positions = (checkpoint.scale * made.positions).cpu().numpy().astype(np.float32)
            group = {
                "positions": positions, "log_weights": made.log_weights,
                "reward_energies": made.energies * kt, "ancestors": made.ancestors + _STARTS * k,
                "acceptance": np.full(size, made.acceptance), "calls": np.full(size, made.calls),
            }  # fmt: skip
            if place is not None:
                write_arrays(place, **group)
        groups.append(group)
        first += size
    return groups


def _kt(checkpoint: Checkpoint) -> float:
    return thermal_energy(checkpoint.description["ensemble"]["temperature"])


def _record(checkpoint: Checkpoint, groups: list[dict]) -> dict:
    found = {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}
    n = len(found["log_weights"])
    whole = log_mean(found["log_weights"])
    if whole == -np.inf:
        raise MolflowError(
            f"the reward forbids all {n} conformations, and all on the way to them: give it a "
            "slope towards what is wanted in place of infinite energies."
        )
    weights = normalised(found["log_weights"])
    _, line = np.unique(found["ancestors"], return_inverse=True)
    lineages = float(1.0 / np.sum(np.bincount(line, weights) ** 2))
    means = np.exp([log_mean(group["log_weights"]) - whole for group in groups])
    error = float(means.std(ddof=1) / len(means) ** 0.5) if len(means) > 3 else None
    doubts = []
    if lineages < FEWEST:
        doubts.append(
            f"the conformations come from {lineages:.1f} effective starts: what they share may be "
            "that alone; draw more, or give the reward a gentler slope."
        )
    if error is not None and error > 0.5:
        doubts.append(
            f"groups differ by {error * len(means) ** 0.5:.1f} times their mean weight: a few of "
            "them decide; draw more."
        )
    kt = _kt(checkpoint)
    return {
        "n": n,
        "effective": effective_size(n, weights),
        "lineages": lineages,
        "groups": len(groups),
        "acceptance": float(found["acceptance"].mean()),
        "calls": float(found["calls"].mean()),
        "free_energy": -kt * whole,
        "error": None if error is None else kt * error,
        "statement": STATEMENT,
        "doubts": doubts,
    }


def _write(out: Path, checkpoint: Checkpoint, found, plan, record, seconds: float) -> None:
    write_topology(out, checkpoint.topology_path)
    write_trajectory(out, found["positions"], checkpoint.topology())
    energies = energies_of(checkpoint, [found["positions"]], len(found["positions"]))
    kept = {name: found[name] for name in ("log_weights", "reward_energies", "ancestors")}
    if energies is not None:
        kept["energies"] = energies
    write_arrays(out.with_suffix(".npz"), **kept)
    description = checkpoint.description
    write_record(
        out,
        {
            "system": description["system"],
            "system_path": description.get("system_path"),
            # Of another state than any reference without the reward.
            "ensemble_hash": f"{description['ensemble_hash']}, with a reward",
            "training_replicas": description["split"]["train"],
            "n": plan["n"],
            "nfe": plan["steps"],
            "plan": plan,
            "steered": record,
            "checkpoint": checkpoint.provenance,
            "seconds": round(seconds, 2),
        },
    )
