"""The files of a finished propagation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

import molflow
from molflow.analysis.kinetics.temperatures import kinetic_table
from molflow.analysis.statistics import evenly_spaced
from molflow.farm import Jobs
from molflow.files import Streamed, read_arrays, read_json, write_arrays
from molflow.parts import write_record
from molflow.propagation.chain_order import ChainOrder
from molflow.propagation.progress import drift
from molflow.propagation.run import Group, Run
from molflow.sampling.energies import energies_of, energy_system
from molflow.training.checkpoint import Checkpoint
from molflow.trajectories import read_trajectory, write_topology, write_trajectory

#: Frames of which temperatures of modes are taken, evenly spaced.
_MEASURED = 20_000


def write_result(
    out: Path,
    checkpoint: Checkpoint,
    topology: mdtraj.Topology,
    run: Run,
    plan: dict,
    seconds: float,
    energies: bool,
    jobs: Jobs,
) -> None:
    """Write the trajectory, chain after chain, with topology, arrays and record beside it."""
    write_topology(out, checkpoint.topology_path)
    chains, request = run.whole, run.request
    positions = ChainOrder(run, "positions", topology.n_atoms)
    write_trajectory(out, positions.pieces(), topology)
    times, shape = request.interval * np.arange(1, request.frames + 1), (len(positions),)
    arrays: dict[str, np.ndarray | Streamed] = {
        "times": Streamed(shape, times.dtype, (times for _ in chains)),
        "chain": Streamed(
            shape, chains.dtype, (np.full(request.frames, chain) for chain in chains)
        ),
    }
    description, hash_ = checkpoint.description, checkpoint.description["ensemble_hash"]
    if request.temperature != checkpoint.flow_map.temperature:
        hash_ += f"@{request.temperature:g}K"
    # The energy is the same function at every temperature.
    found = None
    if energies:
        found = energies_of(checkpoint, positions.pieces(), len(positions), run.parts, jobs)
    if found is not None:
        arrays["energies"] = found
    watched = {}
    sde: Any = checkpoint.flow_map.sde
    if sde.inertial:
        velocities = ChainOrder(run, "velocities", topology.n_atoms)
        masses = sde.masses.double().cpu().numpy().ravel()
        watched = _watched(run, positions, velocities, topology, masses)
        arrays["velocities"] = velocities.streamed()
    record = {
        "system": description["system"],
        "system_path": description.get("system_path"),
        "ensemble_hash": hash_,
        **({"no_energies": energy_system(description)} if energies and found is None else {}),
        "n": len(positions),
        "temperature": request.temperature,
        "friction": request.friction,
        "chains": len(chains),
        "broken": [asdict(run.broken[chain]) for chain in sorted(run.broken)],
        "frames_per_chain": request.frames,
        "frame_interval_ps": request.interval,
        "step_fs": request.step * 1e3,
        "steps_per_chain": request.steps * request.frames,
        "watched": watched,
        "plan": plan,
        "checkpoint": checkpoint.provenance,
        "seconds_of_last_session": round(seconds, 2),
        "molflow": molflow.__version__,
    }
    write_arrays(out.with_suffix(".npz"), **arrays)
    write_record(out, record)


def _watched(
    run: Run, positions: ChainOrder, velocities: ChainOrder, topology: mdtraj.Topology,
    masses: np.ndarray,
) -> dict:  # fmt: skip
    """Return what the watch saw of the chains that are whole: temperatures and drift."""
    kinetic = np.concatenate([_kinetic(group) for group in run.groups], axis=1)[:, run.whole]
    chosen = evenly_spaced(len(positions), _MEASURED)
    found = {
        "lowest_kinetic_temperature": float(kinetic.min()),
        "highest_kinetic_temperature": float(kinetic.max()),
        "temperatures": kinetic_table(
            positions.rows(chosen),
            velocities.rows(chosen),
            topology,
            chosen // run.request.frames,
            masses,
        ),
    }
    return found | ({"drift": drift(kinetic)} if len(kinetic) > 1 else {})


def _kinetic(group: Group) -> np.ndarray:
    return np.concatenate([read_arrays(path)["kinetic"] for path in group.segments])


def read_result(out: Path, topology: mdtraj.Topology) -> mdtraj.Trajectory:
    """Return the trajectory of a finished propagation, with times in ps."""
    trajectory = read_trajectory(out, topology)
    trajectory.time = read_arrays(out.with_suffix(".npz"))["times"]
    return trajectory


def summary(out: Path) -> str:
    """Return what the record of a propagation says, a sentence a line."""
    record = read_json(out.with_suffix(".json"))
    length = record["frames_per_chain"] * record["frame_interval_ps"]
    lines = [
        f"{record['chains']} chains of {length:g} ps in steps of {record['step_fs']:.4g} fs at "
        f"{record['temperature']:g} K and friction {record['friction']:g}/ps; "
        f"{len(record['broken']) or 'none'} broke."
    ]
    lines += [f"Chain {row['chain']} broke after {row['time']:g} ps: {row['what']}."
              for row in record["broken"]]  # fmt: skip
    watched = record["watched"]
    if "temperatures" in watched:
        rows = watched["temperatures"]
        parts = {**rows["all"], **rows["elements"], **rows["modes"]}
        told = ", ".join(f"{name} {row['value']:.1f} ± {row['error']:.1f}"
                         for name, row in parts.items())  # fmt: skip
        lines.append(f"Kinetic temperatures in K: {told}.")
    if "drift" in watched:
        change, error = watched["drift"]["value"], watched["drift"]["error"]
        known = "" if error is None else f" ± {error:.1f}"
        lines.append(f"The second half is {change:+.1f}{known} K hotter than the first.")
    if "no_energies" in record:
        lines.append(record["no_energies"])
    lines.append(f"{record['n']} frames in {out}, velocities and topology.pdb beside it.")
    return "\n".join(lines)
