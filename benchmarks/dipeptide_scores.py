"""How an ensemble of alanine dipeptide is made and scored: the pieces of `alanine_dipeptide.py`."""

from __future__ import annotations

import time
from pathlib import Path

import mdtraj
import numpy as np
import torch
from openmm import unit
from same_network import SOLVERS, draw_by

from molflow.analysis.molecule.superposition import paired_rmsd
from molflow.analysis.observables import basin_marks
from molflow.analysis.statistics import torsion_inefficiency
from molflow.analysis.torsion_metrics import delta_f_alpha_l, fes_rmse, js_divergence, pmf_error
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import normalised
from molflow.comparison import compare, find_reference
from molflow.md.build import fastest_platform, make_simulation
from molflow.sampling.ensemble import sample
from molflow.step_study.summary import figures
from molflow.systems import load_system, systems_folder
from molflow.training.checkpoint import Checkpoint

SYSTEM, BEADS = "alanine_dipeptide", "alanine_dipeptide:beads5"
#: What all atoms are scored on.
YARDSTICK = systems_folder() / SYSTEM / "reference-flattened"
#: Frames that the published table is scored against.
PROTOCOL_FRAMES = 50_000


def positions(checkpoint: Checkpoint, name: str, n: int, calls: int, seed: int) -> np.ndarray:
    """Return samples of a map, or of a baseline with its network, (n, atoms, 3) in nm."""
    if name not in SOLVERS:
        return sample(checkpoint, steps=calls, n=n, path_seed=seed, progress=False).xyz
    with torch.no_grad():
        drawn = draw_by(
            SOLVERS[name], checkpoint.flow_map, n, calls, seed, checkpoint.n_atoms
        )
    return checkpoint.scale * drawn.numpy()


def all_atom(checkpoint: Checkpoint, name: str, n: int, calls: int, seed: int) -> dict:
    """Return the scores of one ensemble against the reference, and the processor seconds of it."""
    start = time.process_time()
    xyz = positions(checkpoint, name, n, calls, seed)
    seconds = time.process_time() - start
    return {"n": n, "seconds": seconds, **scored(xyz, checkpoint.topology(), YARDSTICK)}


def yardstick_torsions() -> tuple[np.ndarray, np.ndarray]:
    """Return torsions (frames, 2) and weights of the reference."""
    truth = find_reference(YARDSTICK)
    return truth.torsions, normalised(truth.log_weights)


def torsions(checkpoint: Checkpoint, name: str, n: int, calls: int, seed: int) -> dict:
    """Return the scores of the torsions of one ensemble alone."""
    truth, weights = yardstick_torsions()
    xyz = positions(checkpoint, name, n, calls, seed)
    model = phi_psi(mdtraj.Trajectory(xyz, checkpoint.topology()))
    free = delta_f_alpha_l(model), delta_f_alpha_l(truth, weights=weights)
    return {
        "n": n, "fes_rmse": fes_rmse(model, truth, None, weights),
        "js_divergence": js_divergence(model, truth, None, weights),
        "delta_f_alpha_l": free[0], "delta_f_error": free[0] - free[1],
    }  # fmt: skip


def short_md(seconds: float, n: int, seed: int) -> dict:
    """Return the scores of n frames of MD that runs for so many processor seconds."""
    frames, length = md_frames(SYSTEM, seconds, n, seed)
    return {
        "n": len(frames), "ps": length,
        **scored(frames, load_system(SYSTEM).topology(), YARDSTICK),
    }  # fmt: skip


def md_frames(name: str, seconds: float, n: int, seed: int) -> tuple[np.ndarray, float]:
    """Return n frames of MD from the structure, nm, and the ps that so many processor seconds
    gave."""
    system = load_system(name)
    platform, _ = fastest_platform(system)
    simulation = make_simulation(system, system.temperature, 7 + seed, platform)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(system.temperature * unit.kelvin, 7 + seed)
    simulation.step(1000)
    frames, steps, start = [], 20, time.process_time()
    while time.process_time() - start < seconds:
        simulation.step(steps)
        state = simulation.context.getState(positions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    kept = np.linspace(0, len(frames) - 1, min(n, len(frames))).round().astype(int)
    return np.asarray(frames, np.float32)[kept], len(frames) * steps * system.timestep / 1e3


def scored(xyz: np.ndarray, topology: mdtraj.Topology, reference: Path | str) -> dict:
    """Return the scores, None for samples that a diverging solver has left without a number."""
    if not np.isfinite(xyz).all():
        return {"figures": None}
    result = compare(mdtraj.Trajectory(xyz, topology), reference, exact_transport=False)
    angles = [
        row["sd_ratio"]
        for row in result["geometry"]
        if row["kind"] == "angle" and row["sd_ratio"] is not None
    ]
    return {"figures": figures(result), "angle_sd_ratio": float(np.median(angles))}


def same_path(
    checkpoint: Checkpoint, calls: list[int], finest: int, n: int, seed: int
) -> dict:
    """Return how far the conformation of a path is from the one that it gives in `finest` jumps."""
    topology = checkpoint.topology()
    fine = positions(checkpoint, "molflow", n, finest, seed)
    unrelated = paired_rmsd(fine, np.roll(fine, 1, axis=0), topology)
    rows = {}
    for k in calls:
        coarse = positions(checkpoint, "molflow", n, k, seed)
        basins = [
            np.stack(list(basin_marks(phi_psi(mdtraj.Trajectory(xyz, topology))).values()))
            for xyz in (coarse, fine)
        ]
        rows[str(k)] = {
            "median_rmsd_nm": float(np.median(paired_rmsd(coarse, fine, topology))),
            "same_basin": float(np.mean((basins[0] == basins[1]).all(axis=0))),
        }
    return {
        "by_evaluations": rows,
        "finest": finest,
        "n": n,
        "median_rmsd_of_unrelated_nm": float(np.median(unrelated)),
    }


def beads(checkpoint: Checkpoint, name: str, n: int, calls: int, seed: int) -> dict:
    """Return the scores of the published protocol, against frames of the training runs."""
    start = time.process_time()
    xyz = positions(checkpoint, name, n, calls, seed)
    seconds = time.process_time() - start
    scores = {"pmf_error": None, "js": None}
    if np.isfinite(xyz).all():
        model = phi_psi(mdtraj.Trajectory(xyz, checkpoint.topology()))
        scores = protocol(model, protocol_frames(checkpoint))
    return {"n": n, "seconds": seconds, **scores}


def protocol(model: np.ndarray, frames: np.ndarray) -> dict:
    """Return the two published scores of torsions (n, 2) against those of the frames."""
    return {"pmf_error": pmf_error(model, frames), "js": 100.0 * js_divergence(model, frames)}


def protocol_frames(checkpoint: Checkpoint) -> np.ndarray:
    """Return the torsions of the 50,000 training frames, (frames, 2)."""
    reference = find_reference(SYSTEM)
    trained = np.isin(reference.replica, checkpoint.description["split"]["train"])
    return reference.torsions[trained][:PROTOCOL_FRAMES]


def beads_floor(checkpoint: Checkpoint, n: int, seed: int) -> dict:
    """Return what n independent draws from the training frames themselves score."""
    frames = protocol_frames(checkpoint)
    return protocol(frames[np.random.default_rng(seed).integers(len(frames), size=n)], frames)


def speed(rates: dict[str, float]) -> dict:
    """Return independent samples a second of the map and of OpenMM on this machine.

    The map's samples are independent. MD yields one in g frames, g the statistical inefficiency
    of the torsions in the reference's own tempering, whose frames cost one interval of MD for
    each of its temperatures. OpenMM is given one simulation a core.
    """
    system, reference = load_system(SYSTEM), find_reference(SYSTEM)
    frames = torsion_inefficiency(reference.torsions, reference.replica)
    walkers = len(reference.provenance["simulation"]["plan"]["temperatures"])
    platform, speeds = fastest_platform(system, seconds=3.0)
    cost = frames * reference.frame_interval_ps * walkers
    ps = speeds[platform] * system.timestep / 1e3
    cores = torch.get_num_threads()
    return {
        "md_platform": platform,
        "md_ps_per_second_and_core": ps,
        "md_inefficiency_frames": frames,
        "md_ps_per_independent_sample": cost,
        "md_samples_per_second": cores * ps / cost,
        "map_samples_per_second": rates,
        "cores": cores,
    }
