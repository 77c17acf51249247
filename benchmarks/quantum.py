"""Dynamics at the level of quantum chemistry: a map learned from single frames against GFN2-xTB.

    python benchmarks/quantum.py run/checkpoint --data data-gfn2 --work WORK

``reference``: free energies of torsions under GFN2-xTB without the map. A cheap energy near the
potential's (`quantum_surrogate`) is simulated under a bias that flattens the torsions, and the
potential's own energies of the frames weight them. ``chains``: many chains of the map at 20 fs,
their temperatures, by kind and of every single motion, broken bonds, memory with its interval
(`quantum_walks`) and free energies against that reference; ``chains_10`` at ten times the friction;
``chains_balanced`` with the noise that the first ones asked for
(`molflow.maps.langevin.residual_balance`), on other paths. ``balance``: what a step cools and what
the map's force heats.
``strong``: errors on Brownian paths that drive GFN2-xTB's own forces.
``speed``: both on one core, turn about.
``conformers``: minima by ETKDG and GFN2-xTB with Boltzmann populations beside the thermal ensemble.
``learning_curve``: error of the force after equal trainings on few labels and on many.
``cost``: core-hours of molecular dynamics for 1,000 independent conformations over those of
everything the map took. Finished parts stay in WORK. Writes ``benchmarks/results/quantum.json``.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from dynamics import temperature_error
from dynamics_strong import by_map, driven, on_learned_force, row, squares
from quantum_balance import balance
from quantum_conformers import conformers
from quantum_labels import force_error, learning_curve
from quantum_surrogate import surrogate
from quantum_walks import extremes, memory, single_modes
from record import command_line, once, write_results

import molflow
from molflow.analysis.flattened import free_energy_of
from molflow.analysis.observables import basin_marks
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import effective_size, normalised
from molflow.data.dataset import load_forces, load_training_data
from molflow.files import read_arrays, read_json, write_arrays
from molflow.md.build import make_simulation
from molflow.md.energies import evaluate, potential_energies
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.units import thermal_energy

PARTS = (
    "speed", "chains", "chains_10", "chains_balanced", "balance", "strong", "reference",
    "conformers", "learning_curve",
)  # fmt: skip
#: fs, of the map, of molecular dynamics, and of the true solution along paths.
LAG, TIMESTEP, FINE = 20.0, 1.0, 0.25
#: Independent conformations of the comparison of costs, and how much longer than their memory
#: chains have to be to tell it.
CONFORMATIONS, LONG_ENOUGH = 1000, 10.0
#: Along phi and along psi, of the maps of both.
CELLS = 24


def free_energies(torsions: list[np.ndarray], log_weights: list[np.ndarray]) -> dict:
    """Return -ln[P/(1 − P)] and the share of every basin of phi and psi, with intervals."""
    marks = [basin_marks(run) for run in torsions]
    weights = normalised(np.concatenate(log_weights))
    found = {}
    for name in marks[0]:
        inside = [run[name] for run in marks]
        found[name] = free_energy_of(inside, log_weights) | {
            "share": float(weights[np.concatenate(inside)].sum())
        }
    return found


def ramachandran(torsions: np.ndarray, log_weights: np.ndarray) -> list[list[float]]:
    """Return the shares of `CELLS` by `CELLS` cells of phi (rows) and psi, -π to π."""
    edges = np.linspace(-np.pi, np.pi, CELLS + 1)
    shares, *_ = np.histogram2d(*torsions.T, bins=(edges, edges), weights=normalised(log_weights))
    return shares.round(6).tolist()


def torsions_of(positions: np.ndarray, system) -> np.ndarray:
    return phi_psi(mdtraj.Trajectory(positions, system.topology()))


def weighted_reference(options, system, base) -> dict:
    """Return free energies under the potential by weights of a surrogate's frames."""
    work, begun = options.work, time.process_time()
    forces = load_forces(load_training_data(options.data))
    x, f = (np.concatenate(pair)[::4] for pair in zip(forces.train, forces.hot, strict=True))
    cheap, near = surrogate(base, x, f, work / "surrogate")
    fitted = time.process_time() - begun
    record = molflow.simulate(
        cheap, time=options.surrogate_time, replicas=options.replicas, flatten="phi,psi",
        cap=35.0, building="600ps", frame_interval="0.5ps", equilibration="20ps",
        platform="Reference", out=work / "surrogate-md", seed=options.seed, jobs=1, progress=False,
    )  # fmt: skip
    kt, begun = thermal_energy(system.temperature), time.process_time()
    torsions, logs, cheap_logs, spread = [], [], [], []
    for run in range(options.replicas):
        stored = read_arrays(work / "surrogate-md" / f"replica-{run}.npz")
        file = work / f"labels-{run}.npz"
        frames = mdtraj.load(str(work / "surrogate-md" / f"replica-{run}.dcd"),
                             top=system.topology()).xyz  # fmt: skip
        if not file.exists():
            both = {"own": evaluate(system, frames, jobs=1).energies,
                    "cheap": potential_energies(cheap, frames)}  # fmt: skip
            write_arrays(file, **both)
        energies = read_arrays(file)
        difference = (energies["own"] - energies["cheap"]) / kt
        spread.append(difference)
        cheap_logs.append(stored["log_weights"])
        logs.append(stored["log_weights"] - difference)
        torsions.append(torsions_of(frames, system))
    write_arrays(work / "reference.npz", torsions=np.concatenate(torsions),
                 log_weights=np.concatenate(logs), cheap_log_weights=np.concatenate(cheap_logs),
                 run=np.repeat(np.arange(len(logs)), [len(run) for run in logs]))  # fmt: skip
    weights = normalised(np.concatenate(logs))
    together = np.concatenate(torsions)
    return {
        "surrogate": near | {
            "energy_sd_kt": float(np.std(np.concatenate(spread))), "fit_seconds": fitted,
        },
        "simulated": {key: record.get(key) for key in ("status", "platform")},
        "frames": len(together), "runs": len(logs),
        "effective_size": effective_size(len(together), weights),
        "effective_size_by_basin": {
            name: effective_size(int(own.sum()), weights[own] / weights[own].sum())
            for name, own in basin_marks(together).items() if own.any()
        },
        "basins": free_energies(torsions, logs),
        "basins_of_the_surrogate": free_energies(torsions, cheap_logs),
        "label_seconds": time.process_time() - begun,
    }  # fmt: skip


def walk_of(options, times: float, balanced: bool = False) -> Path:
    """Return where the frames of chains are."""
    name = f"chains-{times:g}" + ("-balanced" if balanced else "")
    return options.work / name / "trajectory.dcd"


def walked(
    options, checkpoint, system, starts: np.ndarray, times: float = 1.0, balanced: bool = False
) -> dict:
    """Return what chains of the map are like at so many times the friction of its training."""
    out = walk_of(options, times, balanced)
    friction = times * checkpoint.flow_map.friction
    # The paths that chains with noise go along did not decide the noise.
    seed = options.seed + balanced
    begun = time.process_time()
    molflow.propagate(
        checkpoint, mdtraj.Trajectory(starts, system.topology()), options.time, 1e-3 * LAG, out,
        chains=options.chains, friction=friction, path_seed=seed, compiled=options.compile,
        keep_going=True, energies=False, progress=False, load=False, residual_noise=balanced,
    )  # fmt: skip
    seconds = time.process_time() - begun
    record, arrays = read_json(out.with_suffix(".json")), read_arrays(out.with_suffix(".npz"))
    angles = torsions_of(mdtraj.load(str(out), top=system.topology()).xyz, system)
    runs = [angles[arrays["chain"] == chain] for chain in np.unique(arrays["chain"])]
    # What chains remember of their starts is left out.
    late = [run[len(run) // 4 :] for run in runs]
    watched, kelvin = record["watched"], record["temperature"]
    return {
        "watched": watched, "temperature_error": temperature_error(watched, kelvin),
        "friction": friction, "time": options.time, "chains": options.chains,
        "residual_noise": balanced, "path_seed": seed,
        "broken": len(record["broken"]), "breaks": record["broken"], "cpu_seconds": seconds,
        "basins": free_energies(late, [np.zeros(len(run)) for run in late]),
        "basins_of_the_first_quarter": free_energies(
            [run[: len(run) // 4] for run in runs], [np.zeros(len(run) // 4) for run in runs]),
        "length_ps": float(arrays["times"].max()),
    }  # fmt: skip


def seen_in(walk: Path, system) -> tuple[np.ndarray, dict]:
    """Return phi and psi of stored chains, what they remember of them and how warm every motion
    is."""
    arrays = read_arrays(walk.with_suffix(".npz"))
    frames, chain = mdtraj.load(str(walk), top=system.topology()), arrays["chain"]
    torsions = phi_psi(frames)
    return torsions, {
        "memory": memory(torsions, chain, float(np.diff(arrays["times"][:2])[0])),
        "modes": single_modes(frames.xyz, arrays["velocities"], system.topology(), chain),
    }


def strong(options, checkpoint, system, starts: np.ndarray) -> dict:
    """Return errors of the map on paths under the potential's own forces, by jump."""
    flow_map, grid = checkpoint.flow_map, 1e-3 * LAG
    sde, kelvin, points = flow_map.sde, flow_map.temperature, options.jumps
    paths = ChainPaths(flow_map.basis, len(starts), starts.shape[1], options.seed)
    x, energy = start_state(flow_map, starts, options.seed), thermal_energy(kelvin)
    masses = sde.masses.double().numpy().ravel()
    truth = driven(system, "bub", FINE, sde, kelvin, x, paths, points, grid)
    coarse = driven(system, "bub", 2 * FINE, sde, kelvin, x, paths, min(points, 8), grid)
    walks = {
        "map": by_map(flow_map, LAG, x, paths, points, grid),
        "map_at_10_fs": by_map(flow_map, LAG / 2, x, paths, points, grid),
        "its_own_force": on_learned_force(flow_map, FINE, x, paths, points, grid),
    }
    if checkpoint.residual is not None:
        noise = ChainResiduals(checkpoint.residual, kelvin, sde.friction, options.seed)
        walks["map_with_noise"] = by_map(flow_map, LAG, x, paths, points, grid, noise)
    ends = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= points]
    return {
        "errors_by_jump": {
            name: {str(k): row(squares(states[k - 1 : k], truth[k - 1 : k], masses, energy))
                   for k in ends}
            for name, states in walks.items()
        },
        "errors_of_all_jumps": {
            name: row(squares(states, truth, masses, energy)) for name, states in walks.items()
        },
        "truth_at_twice_the_step": {
            str(k): row(squares(coarse[k - 1 : k], truth[k - 1 : k], masses, energy))
            for k in ends if k <= len(coarse)
        },
        "map_against_its_own_force": row(
            squares(walks["map"], walks["its_own_force"], masses, energy)),
        "paths": len(starts), "jumps": points, "jump_fs": LAG, "reference_step_fs": FINE,
    }  # fmt: skip


def speed(options, checkpoint, system, starts: np.ndarray) -> dict:
    """Return milliseconds of both on one core, measured turn about, and how they compare."""
    flow_map = checkpoint.flow_map
    if options.compile:
        flow_map.compile_parts()
    simulation = make_simulation(system, system.temperature, 1, "Reference")
    simulation.context.setPositions(starts[0].astype(float))
    simulation.context.setVelocitiesToTemperature(system.temperature, 1)

    def of_map(chains: int):
        paths = ChainPaths(flow_map.basis, chains, starts.shape[1], 0)
        motion, now = Motion(flow_map), [0.0]
        state = [start_state(flow_map, starts[np.arange(chains) % len(starts)], 0)]

        def step() -> None:
            later = now[0] + 1e-3 * LAG
            state[0] = motion.step(state[0], paths.increment(now[0], later))
            now[0] = later

        return step

    tasks = {
        "xtb_md": (lambda: simulation.step(1), 60), "map_256": (of_map(256), 6),
        "map_1": (of_map(1), 40),
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(options.turns + 1):
        for name, (task, repeats) in tasks.items():
            begun = time.process_time()
            for _ in range(repeats):
                task()
            if turn:
                found[name].append(1e3 * (time.process_time() - begun) / repeats)
    median = {name: float(np.median(values)) for name, values in found.items()}
    rate = {"xtb_md": TIMESTEP / median["xtb_md"], "map_256": 256 * LAG / median["map_256"],
            "map_1": LAG / median["map_1"]}  # fmt: skip
    return {
        "milliseconds": median, "of_turns": found, "compiled": options.compile,
        "milliseconds_a_molecule_and_step": median["map_256"] / 256,
        "femtoseconds_a_core_millisecond": rate,
        "speed_vs_xtb_md": rate["map_256"] / rate["xtb_md"],
        "speed_vs_xtb_md_one_chain": rate["map_1"] / rate["xtb_md"],
    }


def costs(options, parts: dict) -> dict | None:
    """Return core-hours of both ways to 1,000 independent conformations.

    Where there are chains with noise, the ones without, which decided it, are a part of the cost.
    Molecular dynamics is taken to remember as long as the map without noise, of which there is an
    interval.
    """
    if not {"chains", "speed"} <= parts.keys():
        return None
    slowest = parts["chains"]["memory"]["slowest"]
    if parts["chains"]["length_ps"] < LONG_ENOUGH * slowest["value"]:
        return None  # chains that remember their starts do not tell how long they do
    rate = parts["speed"]["femtoseconds_a_core_millisecond"]

    def core_hours(way: str, ps: float) -> float:
        return 1e3 * ps * CONFORMATIONS / rate[way] / 3.6e6

    once_only = {"exploring": options.exploring / 3600, "labels": options.labels / 3600,
                 "training": options.training / 3600}  # fmt: skip
    if "chains_balanced" in parts:
        once_only["noise"] = parts["chains"]["cpu_seconds"] / 3600
    whole = sum(once_only.values())

    def gain(ps: float) -> float:
        return core_hours("xtb_md", ps) / (whole + core_hours("map_256", ps))

    ps = slowest["value"]
    hours = {way: core_hours(way, ps) for way in ("xtb_md", "map_256")}
    return {
        "ps_for_an_independent_conformation": slowest,
        "xtb_md_core_hours": hours["xtb_md"],
        "map_core_hours": once_only | {"chains": hours["map_256"]},
        "total_speedup": gain(ps),
        "total_speedup_interval": [gain(end) for end in slowest["interval"]],
        "pays_from_conformations": whole * CONFORMATIONS / (hours["xtb_md"] - hours["map_256"]),
    }


def summarised(parts: dict, options) -> dict:
    """Return what others read."""
    found: dict = {}
    if "speed" in parts:
        found |= {key: parts["speed"][key] for key in (
            "speed_vs_xtb_md", "speed_vs_xtb_md_one_chain")}  # fmt: skip
        found["milliseconds_a_force"] = parts["speed"]["milliseconds"]["xtb_md"]
    if (cost := costs(options, parts)) is not None:
        found |= {key: cost[key] for key in (
            "total_speedup", "total_speedup_interval", "pays_from_conformations")}  # fmt: skip
    if "learning_curve" in parts:
        found["learning_curve"] = parts["learning_curve"]["rows"]
    at: dict = {}
    if "chains" in parts:
        chains = parts["chains"]
        at = {"temperature_error": chains["temperature_error"], "broken": chains["broken"],
              "chains": chains["chains"], "time": chains["time"],
              "single_modes": extremes(chains["modes"])}  # fmt: skip
    if "chains_10" in parts:
        at["at_ten_times_the_friction"] = {
            key: parts["chains_10"][key] for key in ("temperature_error", "broken")
        }
    if "chains_balanced" in parts:
        balanced = parts["chains_balanced"]
        at["with_noise"] = {
            key: balanced[key] for key in ("temperature_error", "broken", "chains", "time")
        }
        at["with_noise"]["single_modes"] = extremes(balanced["modes"])
    if "balance" in parts:
        at["kelvin_by_a_step"] = parts["balance"]["by_a_step"]["energy"]
        at["kelvin_a_ps_by_the_force"] = parts["balance"]["by_the_force"]["atoms"]
    if "strong" in parts:
        errors = parts["strong"]["errors_by_jump"]
        at["strong_error"] = errors["map"]
        if "map_with_noise" in errors:
            at["strong_error_with_noise"] = errors["map_with_noise"]
    sides = () if "reference" not in parts else (
        ("map", "chains"), ("map with noise", "chains_balanced"),
        ("map at ten times the friction", "chains_10"), ("gfn2-xtb", "reference"),
    )  # fmt: skip
    at["free_energies_kt"] = {
        side: {name: {"value": one["value"], "interval": one["interval"], "share": one["share"]}
               for name, one in parts[part]["basins"].items()}
        for side, part in sides if part in parts
    }  # fmt: skip
    return found | {"h": {f"{LAG:g}": at}}


def main() -> None:
    """Run the benchmark, or what is left of it."""
    parser = command_line(__doc__, work=None, seed=0)
    parser.add_argument("checkpoint", help="of a map of dynamics under a potential")
    parser.add_argument("--base", default="alanine_dipeptide", help="with a force field")
    parser.add_argument("--data", type=Path, required=True, help="labelled training set")
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--chains", type=int, default=128)
    parser.add_argument("--time", default="100ps", help="of every chain")
    parser.add_argument("--paths", type=int, default=8)
    parser.add_argument("--jumps", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=4, help="of the surrogate")
    parser.add_argument("--surrogate-time", default="750ps", help="of each")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--exploring", type=float, default=0.0, help="core-seconds it took")
    parser.add_argument("--labels", type=float, default=0.0, help="core-seconds they took")
    parser.add_argument("--training", type=float, default=0.0, help="core-seconds it took")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    wanted = PARTS if options.only is None else tuple(options.only.split(","))
    if options.only is None and load_checkpoint(options.checkpoint).residual is None:
        wanted = tuple(name for name in PARTS if name != "chains_balanced")
    data = load_training_data(options.data)
    system, base = load_system(data.manifest["system"]), load_system(options.base)
    # No chain starts from a frame that was trained on.
    held = data.validation

    def model():
        return load_checkpoint(options.checkpoint)

    def some(count: int) -> np.ndarray:
        return held[np.linspace(0, len(held) - 1, count).astype(int)]

    makers = {
        "reference": lambda: weighted_reference(options, system, base),
        "chains": lambda: walked(options, model(), system, some(options.chains)),
        "chains_10": lambda: walked(options, model(), system, some(options.chains), 10.0),
        "chains_balanced": lambda: walked(
            options, model(), system, some(options.chains), balanced=True
        ),
        "balance": lambda: balance(
            model().flow_map, system, some(2 * options.chains), LAG, options.seed
        ),
        "strong": lambda: strong(options, model(), system, some(options.paths)),
        "speed": lambda: speed(options, model(), system, some(256)),
        "conformers": lambda: conformers(system, options.seed),
        "learning_curve": lambda: {
            "rows": learning_curve(
                system, data, options.work / "learning-curve", options.seed, options.compile
            ),
            "of_the_map": force_error(options.checkpoint, *load_forces(data).validation),
        },
    }
    parts = {}
    for name in PARTS:
        file = options.work / f"{name}.json"
        if name in wanted or file.exists():
            parts[name] = once(file, makers[name])
            print(name, "done", flush=True)
    maps = {}
    if (options.work / "reference.npz").exists():
        stored = read_arrays(options.work / "reference.npz")
        maps["gfn2-xtb"] = ramachandran(stored["torsions"], stored["log_weights"])
    for name, part, times, balanced in (
        ("map", "chains", 1.0, False), ("map with noise", "chains_balanced", 1.0, True),
        ("map at ten times the friction", "chains_10", 10.0, False),
    ):  # fmt: skip
        if part in parts:
            angles, seen = seen_in(walk_of(options, times, balanced), system)
            parts[part] |= seen
            maps[name] = ramachandran(angles, np.zeros(len(angles)))
    results = {
        "summary": summarised(parts, options), **parts, "ramachandran": maps,
        "costs": costs(options, parts),
        "frames": data.manifest["frames"] | {"hot": data.manifest["dynamics"]["hot_frames"]},
        "seed": options.seed,
    }  # fmt: skip
    write_results(options.out / "quantum.json", results, tblite=version("tblite"),
                  openmm=openmm.__version__, rdkit=version("rdkit"))  # fmt: skip


if __name__ == "__main__":
    main()
