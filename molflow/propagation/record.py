"""The files of a finished propagation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import mdtraj
import numpy as np

import molflow
from molflow.analysis.samples import evenly_spaced
from molflow.analysis.temperatures import kinetic_table
from molflow.files import Streamed, read_arrays, read_json, write_arrays
from molflow.parts import write_record
from molflow.propagation.chain_order import ChainOrder
from molflow.propagation.progress import drift
from molflow.propagation.run import Run
from molflow.sampling.energies import energies_of, energy_system
from molflow.training.checkpoint import TOPOLOGY, Checkpoint
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
) -> None:
    """Write the trajectory, chain after chain, with topology, arrays and record beside it."""
    write_topology(out, checkpoint.folder / TOPOLOGY)
    chains, request = run.whole, run.request
    positions = ChainOrder(run, "positions")
    write_trajectory(out, positions.pieces(), topology)
    arrays: dict[str, np.ndarray | Streamed] = {
        "times": np.tile(request.interval * np.arange(1, request.frames + 1), len(chains)),
        "chain": np.repeat(chains, request.frames),
    }
    description, hash_ = checkpoint.description, checkpoint.description["ensemble_hash"]
    if request.temperature != checkpoint.flow_map.temperature:
        hash_ += f"@{request.temperature:g}K"
    # The energy is the same function at every temperature.
    found = energies_of(checkpoint, positions.pieces()) if energies else None
    if found is not None:
        arrays["energies"] = found
    watched = {}
    if run.inertial:
        velocities = ChainOrder(run, "velocities")
        watched = _watched(run, positions, velocities, topology)
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
    run: Run, positions: ChainOrder, velocities: ChainOrder, topology: mdtraj.Topology
) -> dict:
    """Return what the watch saw of the chains that are whole: temperatures and drift."""
    kinetic = np.concatenate([read_arrays(path)["kinetic"] for path in run.segments])
    kinetic = kinetic[:, run.whole]
    chosen = evenly_spaced(len(positions), _MEASURED)
    found = {
        "lowest_kinetic_temperature": float(kinetic.min()),
        "highest_kinetic_temperature": float(kinetic.max()),
        "temperatures": kinetic_table(
            positions.rows(chosen),
            velocities.rows(chosen),
            topology,
            chosen // run.request.frames,
            run.masses,
        ),
    }
    return found | ({"drift": drift(kinetic)} if len(kinetic) > 1 else {})


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
