"""`molflow reweight`: shares of basins from a map's weights and dynamics inside the basins."""

from __future__ import annotations

import shutil
import time as clock
from pathlib import Path

import numpy as np

from molflow.analysis.files.ensemble import EnsembleFile, read_ensemble
from molflow.analysis.observables import BASIN_NAMES
from molflow.analysis.weighting import effective_size, normalised, systematic
from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule
from molflow.exact.backward_piece import Backward, BackwardPieces, segments_of
from molflow.exact.basin_ratios import Forward, Side, basin_shares
from molflow.exact.inside import SEGMENT
from molflow.exact.strata import basin_numbers
from molflow.exact.weighted_piece import PIECE, Wanted
from molflow.farm import Jobs
from molflow.files import (
    read_arrays,
    read_json,
    sha256_of,
    writable_folder,
    write_arrays,
)
from molflow.parts import alone, claim_parts, finished, write_record
from molflow.sampling.pool import Workplace, open_workplace
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.training.checkpoint import Checkpoint
from molflow.trajectories import (
    check_extension,
    check_topology,
    read_trajectory,
    write_topology,
    write_trajectory,
)
from molflow.units import parse_quantity


@alone
def reweight(
    checkpoint: str | Path | Checkpoint,
    ensemble: str | Path,
    out: str | Path | None = None,
    frames: int = 96,
    time: str | float = 20.0,
    starts: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    jobs: Jobs = None,
    progress: bool = True,
):
    """Find the shares of basins by Bennett's acceptance ratio between a map and dynamics.

    Molecular dynamics that stays inside a basin knows everything of it but its share; weights know
    the shares but may have missed a part of the basin. Dynamics is started in every basin from its
    weighted conformations, its frames are weighed backwards, by the annealing and the flow that
    would have led to them, and both together give the integral of each basin, with an interval.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The map that the ensemble is of.
    ensemble : path
        What `molflow.sample_weighted` wrote, not by ``stop=0``.
    out : path, optional
        Trajectory of all conformations, those of the map and those of dynamics, with
        ``log_weights``, ``log_ratios`` (of densities, target to proposal, one by one) and
        ``energies`` (``.npz``) and the record (``.json``) beside it. Finished
        pieces are kept in a folder beside it until the end: the same call resumes.
    frames : int
        Frames of dynamics in every basin, each from a walker of its own.
    time : float or str
        ps, how long a walker walks.
    starts : path, optional
        Conformations from which dynamics starts in basins where the map has too few: frames of a
        simulation or a structure.
    seed, device, jobs, progress
        As for `molflow.sample_weighted`.

    Returns
    -------
    trajectory : mdtraj.Trajectory
        The map's conformations and then the frames of dynamics.
    found : dict
        ``log_weights`` and ``record``, JSON-safe: for each basin in ``basins`` the ``share`` and
        ``free_energy`` (kT, against all others) with intervals, what each side alone says, the
        overlap, and the ``bias`` of the map's own draws (kT); sentences in ``doubts`` and
        ``corrected``.

    Raises
    ------
    MolflowError
        If an argument is impossible, the ensemble has no weights of this map, or no basin has
        enough samples.
    """
    import mdtraj

    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise MolflowError(f"frames is {frames!r}: it must be a whole number, at least 2.")
    segments = segments_of(parse_quantity(time, "time", "time"))
    place = open_workplace(checkpoint, device, jobs)
    checkpoint = place.checkpoint
    given = read_ensemble(ensemble, None)
    backward = Backward(_wanted(given, checkpoint), segments, seed)
    forward = _forward(given, checkpoint)
    topology = checkpoint.topology()
    others = None if starts is None else _frames_of(starts, topology)
    plan = {
        "reweighted": True, "source_sha256": given.sha256, "frames": frames,
        "segments": segments, "seed": seed, "weights_sha256": checkpoint.weights_hash,
        "starts_sha256": None if starts is None else sha256_of(starts),
    }  # fmt: skip
    parts = None
    if out is not None:
        out = check_extension(out)
        if given.path is not None and out.resolve() == given.path.resolve():
            raise MolflowError(f"out is '{out}', the ensemble itself: choose another name.")
        writable_folder(out.parent)
        check_topology(out, topology)
        if finished(out, plan):
            kept = read_arrays(out.with_suffix(".npz"))["log_weights"]
            record = read_json(out.with_suffix(".json"))["reweighted"]
            return read_trajectory(out, topology), {"log_weights": kept, "record": record}
        parts = claim_parts(out, plan)
    began = clock.perf_counter()
    sides = _sides(place, backward, forward, others, frames, parts, progress)
    record, log_weights = basin_shares(forward, sides, seed)
    seconds = sum(float(side.seconds.sum()) for side in sides.values())
    record |= {"frames": frames, "ps_each": SEGMENT * segments, "cpu_seconds": seconds}
    ratios = np.concatenate([
        forward.log_weights, *(side.log_weights for side in sides.values())
    ])  # fmt: skip
    positions = np.concatenate([forward.positions, *(side.positions for side in sides.values())])
    energies = np.concatenate([forward.energies, *(side.energies for side in sides.values())])
    trajectory = mdtraj.Trajectory(positions, topology, time=np.arange(len(positions), dtype=float))
    if out is not None:
        write_topology(out, checkpoint.topology_path)
        write_trajectory(out, positions, topology)
        write_arrays(
            out.with_suffix(".npz"), log_weights=log_weights, energies=energies, log_ratios=ratios
        )
        system = backward.wanted.system
        kept_record = {
            **{name: value for name, value in system.record.items() if name != "ensemble"},
            "training_replicas": checkpoint.description["split"]["train"],
            "n": len(positions), "nfe": backward.wanted.steps, "plan": plan,
            "reweighted": record, "checkpoint": checkpoint.provenance,
            "seconds": round(clock.perf_counter() - began, 2),
        }  # fmt: skip
        write_record(out, kept_record)
        if parts is not None:
            shutil.rmtree(parts)
    return trajectory, {"log_weights": log_weights, "record": record}


def _wanted(given: EnsembleFile, checkpoint: Checkpoint) -> Wanted:
    """Return what the ensemble's samples were asked for."""
    plan = given.record.get("plan", {})
    if not plan.get("weighted") or given.log_weights is None:
        raise MolflowError(
            f"'{given.path}' has no weights of a map: make it by molflow sample --weights."
        )
    if plan["weights_sha256"] != checkpoint.weights_hash:
        raise MolflowError(f"'{given.path}' is of another checkpoint: name the one it is of.")
    if plan["stop"] is None:
        raise MolflowError(
            f"'{given.path}' was made without a step by physics (--stop 0), and conformations "
            "cannot be carried back to its flow: sample again with a stop."
        )
    return Wanted(
        _system_of(given), plan["steps"], plan["stop"], plan["path_seed"],
        Schedule(**plan["annealing"]), recorded=plan["recorded"],
    )  # fmt: skip


def _system_of(given: EnsembleFile) -> MolecularSystem:
    record = given.record
    system = load_system(record.get("system_path") or record["system"])
    if system.ensemble_hash != record["ensemble_hash"]:
        system = system.at(record["weighted"]["temperature_K"])
    if system.ensemble_hash != record["ensemble_hash"]:
        raise MolflowError(
            f"the system of '{given.path}' is another one now: its force field or molecule was "
            "changed after the weights were made. Make them again."
        )
    return system


def _forward(given: EnsembleFile, checkpoint: Checkpoint) -> Forward:
    arrays = read_arrays(Path(str(given.path)).with_suffix(".npz"))
    positions = np.concatenate([part.xyz for part in given.chunks(1000)])
    factors = arrays.get("log_factors", np.zeros(given.n))
    return Forward(
        positions,
        arrays["energies"],
        arrays["log_weights"] - factors,
        factors,
        basin_numbers(positions, checkpoint.topology()),
    )


def _frames_of(starts: str | Path, topology) -> np.ndarray:
    given = read_ensemble(starts, None)
    if [a.name for a in given.topology.atoms] != [a.name for a in topology.atoms]:
        raise MolflowError(
            f"starts is '{starts}', whose atoms are others than the checkpoint's or in another "
            "order: give conformations of the same molecule."
        )
    return np.concatenate([part.xyz for part in given.chunks(1000)])


def _sides(place: Workplace, backward, forward: Forward, others, frames, parts, progress):
    """Return frames of dynamics by basin, weighed backwards."""
    topology = place.checkpoint.topology()
    elsewhere = None if others is None else basin_numbers(others, topology)
    count = -(-frames // PIECE)
    rng = np.random.default_rng(derive_seed(backward.seed, "starts"))
    tasks, names = {}, {}
    for basin in range(len(BASIN_NAMES)):
        offset = rng.random()
        begin = _starts(forward, others, elsewhere, basin, count * PIECE, offset)
        if begin is None:
            continue
        for k, part in enumerate(begin.reshape(count, PIECE, *begin.shape[1:])):
            tasks[basin * count + k] = (basin, k, part)
            names[basin * count + k] = None if parts is None else parts / f"{basin}-{k:04d}.npz"
    title = f"dynamics and weights, {PIECE} at a time"
    found = place.pieces(BackwardPieces, backward, tasks, names, title, progress)
    sides = {}
    for basin in sorted({task[0] for task in tasks.values()}):
        own = [found[basin * count + k] for k in range(count)]
        joined = {name: np.concatenate([part[name] for part in own])[:frames] for name in own[0]}
        sides[basin] = Side(**joined)
    return sides


def _starts(forward, others, elsewhere, basin, count: int, offset: float) -> np.ndarray | None:
    rows = np.flatnonzero((forward.basins == basin) & np.isfinite(forward.log_weights))
    if len(rows):
        weights = normalised((forward.log_weights + forward.log_factors)[rows])
        if effective_size(len(rows), weights) >= 2.0 or others is None:
            return forward.positions[rows[systematic(weights, count, offset)]]
    if others is None or not (elsewhere == basin).any():
        return None
    own = np.flatnonzero(elsewhere == basin)
    return others[own[systematic(np.full(len(own), 1.0 / len(own)), count, offset)]]


def format_reweighted(record: dict) -> str:
    """Return what the command line says of shares of basins."""
    lines = []
    for name, row in record["basins"].items():
        label = BASIN_NAMES[name]
        if row["share"] is None:
            lines.append(f"  {label}: share unknown")
            continue
        low, high = row["free_energy_interval"]
        lines.append(
            f"  {label}: share {row['share']:.3g}, free energy {row['free_energy']:.2f} kT, 95 % "
            f"interval {low:.2f} to {high:.2f} ({row['effective']:.0f} effective of "
            f"{row['samples']} samples, {row['frames']} frames of dynamics, overlap "
            f"{row['overlap']:.2f})"
        )
    lines += [f"Corrected by the weights: {sentence}" for sentence in record.get("corrected", [])]
    lines += [f"Not to be trusted as it is: {sentence}" for sentence in record["doubts"]]
    return "\n".join(lines)
