"""A map of Langevin dynamics against molecular dynamics: path by path, in equilibrium, in time.

    python benchmarks/dynamics.py run/checkpoint --md plain-md --work WORK

Strong errors on Brownian paths that drive OpenMM's own forces; then for each lag many chains, their
temperatures, broken bonds, free energies, slow time scales and passages against plain molecular
dynamics; the same weights at 350 K, at ten times the friction, and with the residual noise that
was learned with them, if any; and the cost of simulated time.
Every finished part stays in WORK, and the chains there go on where they were. Writes
``benchmarks/results/dynamics.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from dynamics_cost import cost_of_map, cost_of_openmm, when_it_pays
from dynamics_strong import strong
from record import command_line, once, write_results

import molflow
from molflow.analysis.kinetics.compare_times import compare_times
from molflow.analysis.kinetics.slow_modes import fit_slow_modes
from molflow.analysis.kinetics.temperatures import width_temperatures
from molflow.analysis.kinetics.time_series import time_ordered
from molflow.analysis.molecule.geometry import terms
from molflow.analysis.statistics import evenly_spaced
from molflow.comparison import find_reference
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import read_json
from molflow.systems import load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint

#: What a lag must do: largest errors of temperatures and of the free-energy map beyond its floor
#: (kT). Of times, see `compare_times`.
TEMPERATURE, FREE_ENERGY = 0.02, 0.15
#: The passage of the headline.
PASSAGE = "alpha_r to alpha_l"
#: What makes chains those of another state than the map was trained in, or of another map.
OTHER = {"temperature", "friction", "residual_noise"}


def length(lag: float, options, state: dict) -> str:
    """Return how long chains are."""
    if OTHER & state.keys():
        return options.states_time or options.time
    return (options.headline_time if lag == options.headline else None) or options.time


def propagated(checkpoint: Checkpoint, starts, out: Path, lag: float, options, state: dict) -> dict:
    """Propagate chains and return their record; where all of them broke, what was said."""
    try:
        molflow.propagate(
            checkpoint, starts, length(lag, options, state), 1e-3 * lag, out, chains=options.chains,
            path_seed=options.seed, compiled=options.compile, keep_going=True, **state,
        )  # fmt: skip
    except MolflowError as error:
        return {"broken": options.chains, "said": str(error)}
    record = read_json(out.with_suffix(".json"))
    return {key: record[key] for key in ("watched", "temperature", "friction", "step_fs")} | {
        "time": length(lag, options, state), "broken": len(record["broken"]),
        "breaks": record["broken"],
    }  # fmt: skip


def temperature_error(watched: dict, temperature: float) -> float:
    """Return the largest relative error of the temperature of an element or a kind of mode."""
    rows = watched["temperatures"]
    rows = [*rows["elements"].values(), *rows["modes"].values()]
    return max(abs(row["value"] / temperature - 1.0) for row in rows)


def widths(out: Path, reference, temperature: float) -> dict:
    """Return temperatures of bonds and angles by their widths against a reference, K."""
    top = mdtraj.load_topology(str(out.with_name("topology.pdb")))
    term_list = [term for term in terms(top) if term.kind in ("bond", "angle")]
    frames = mdtraj.load(str(out), top=top)
    chosen = frames.xyz[evenly_spaced(frames.n_frames, 20_000)]
    found = width_temperatures(chosen, reference.positions, term_list, temperature)
    return {
        kind: float(np.nanmean([t for t, term in zip(found, term_list, strict=True)
                                if term.kind == kind]))
        for kind in ("bond", "angle")
    }  # fmt: skip


def measured(out: Path, made: dict, options, truth: dict, state: dict) -> dict:
    """Return what the chains of a file are like.

    Free energies are compared at the temperature of the reference only, times at its friction too.
    """
    if "watched" not in made:
        return made
    row = dict(made)
    row["temperature_error"] = temperature_error(made["watched"], made["temperature"])
    row["width_temperatures"] = widths(out, truth["static"], truth["static"].temperature)
    judged = molflow.compare(out, options.reference, exact_transport=False, force=True)
    if "temperature" not in state:
        row["fes_rmse"] = {key: judged["metrics"]["fes_rmse"][key] for key in (
            "value", "floor", "excess", "interval")}  # fmt: skip
    row["validity"] = judged["validity"]
    row["basins"] = judged["observables"]["basins"]
    if truth["series"] is not None and not OTHER & state.keys():
        series = time_ordered(find_reference(out))
        row["times"] = compare_times(
            series, truth["series"], truth["modes"], truth["static"].torsion_names, options.seed
        )
    return row


def criteria(row: dict) -> dict[str, bool | None]:
    """Return what a lag fulfils; None is undecided, because molecular dynamics is too short."""
    if "temperature_error" not in row:
        return {"broken": False}
    found = row.get("times", {})
    return {
        "temperature": row["temperature_error"] <= TEMPERATURE,
        "broken": row["broken"] == 0,
        "free_energy": row["fes_rmse"]["excess"] <= FREE_ENERGY,
        "timescale": found["timescale"]["agrees"] if found else None,
        "passage": all_of([one["agrees"] for one in found["passages"].values()]) if found else None,
    }


def all_of(answers: list[bool | None]) -> bool | None:
    """Return whether all that are decided are true; None if none is."""
    decided = [answer for answer in answers if answer is not None]
    return all(decided) if decided else None


def found_at(row: dict) -> dict:
    """Return what others read of one lag."""
    known, found = criteria(row), row.get("times", {})
    passages = found.get("passages", {})
    return {
        "temperature_error": row.get("temperature_error"),
        "fes_rmse_excess": row["fes_rmse"]["excess"] if "fes_rmse" in row else None,
        "timescale_ratio": found["timescale"]["value"] if found else None,
        "passage_ratio": passages[PASSAGE]["value"] if found else None,
        "passage_ratios": {name: one["value"] for name, one in passages.items() if one["value"]},
        "broken": row["broken"],
        "undecided": [
            *(name for name, value in known.items() if value is None),
            *(name for name, one in passages.items() if one["agrees"] is None),
        ],
        "fails": [name for name, value in known.items() if value is False],
    }


def summarised(parts: dict, lags: list[float]) -> dict:
    """Return what others read."""
    order = parts["strong"]["map_against_its_own_force"]["order"]["position"]
    rows = {f"{lag:g}": found_at(parts["lags"][f"{lag:g}"]) for lag in sorted(lags)}
    largest = max((lag for lag in lags if not rows[f"{lag:g}"]["fails"]), default=None)
    residual = parts["residual_noise"]
    speed = parts["cost"]
    cores = [row["ns_a_day"] for row in speed["openmm"].values() if row["device"] == "cpu"]
    return {
        "largest_h_fs": largest,
        "h": rows,
        "with_residual_noise": None if residual is None else found_at(residual),
        "strong_order": None if order is None else order["value"],
        "strong_order_interval": None if order is None else order["interval"],
        "strong_error_angstrom": {
            name: {
                step: row["position_angstrom"]
                for step, row in parts["strong"][name]["errors"].items()
            }
            for name in ("map", "baoab", "euler_maruyama")
        },
        "speed_vs_openmm_cpu": max(row["ns_a_day"] for row in speed["map"].values()) / max(cores),
        "force_seconds_at_which_it_pays": speed["pays"]["seconds_a_force_at_which_it_is_even"],
        "other_states": {
            name: {"temperature_error": row.get("temperature_error"), "broken": row["broken"],
                   "fes_rmse_excess": row["fes_rmse"]["excess"] if "fes_rmse" in row else None}
            for name, row in parts["states"].items()
        },
    }  # fmt: skip


def cost(checkpoint: Checkpoint, starts: np.ndarray, options) -> dict:
    """Return the cost of simulated time, of the map at the headline's lag."""
    system, device = load_system(checkpoint.description["system"]), options.device
    flow_map = checkpoint.flow_map
    if options.compile:
        flow_map.compile_parts()
    rows = cost_of_map(flow_map, starts, options.headline, device)
    chains = max(rows, key=lambda name: rows[name]["ns_a_day"])
    one = rows[chains]["seconds_a_step"] / int(chains)
    return {
        "device": device,
        "compiled": options.compile,
        "lag_fs": options.headline,
        "map": rows,
        "openmm": cost_of_openmm(system),
        "pays": when_it_pays(one, options.headline, system.timestep),
    }


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_line(__doc__, work=None, seed=0)
    parser.add_argument("checkpoint", help="of a map of dynamics")
    parser.add_argument("--md", type=Path, help="plain molecular dynamics, for times")
    parser.add_argument("--reference", default="alanine_dipeptide", help="for free energies")
    parser.add_argument("--chains", type=int, default=256)
    parser.add_argument("--time", default="1ns", help="of every chain")
    parser.add_argument("--headline-time", help="of chains at the headline's lag, if another")
    parser.add_argument("--states-time", help="of chains in other states and with noise")
    parser.add_argument("--lags", default="10,20,40", help="fs")
    parser.add_argument("--kinetics-lag", type=float, default=10.0, help="of slow modes, ps")
    parser.add_argument("--headline", type=float, default=20.0,
                        help="that matters most, and of the other states, fs")  # fmt: skip
    parser.add_argument("--paths", type=int, default=16, help="of the strong errors")
    parser.add_argument("--points", type=int, default=16, help="their length in 40 fs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    return parser


def main() -> None:
    """Run the benchmark, or what is left of it."""
    options = arguments().parse_args()
    lags = [float(lag) for lag in options.lags.split(",")]
    checkpoint = load_checkpoint(options.checkpoint, find_device(options.device))
    system = load_system(checkpoint.description["system"])
    work, static = options.work, find_reference(options.reference)
    truth = {"static": static, "series": None, "modes": None}
    if options.md is not None:
        truth["series"] = time_ordered(find_reference(options.md))
        truth["modes"] = fit_slow_modes(truth["series"], options.kinetics_lag, seed=options.seed)
    # Chains start in equilibrium, on frames that no map was trained on.
    held = static.select(static.held_out_runs or static.runs)
    starts = mdtraj.Trajectory(held.positions, held.topology)
    of_paths = held.positions[np.linspace(0, len(held.positions) - 1, options.paths).astype(int)]

    def walk(name: str, lag: float, **state) -> dict:
        out = work / name / "trajectory.dcd"
        made = once(work / f"{name}-made.json", lambda: propagated(
            checkpoint, starts, out, lag, options, state))  # fmt: skip
        return once(work / f"{name}.json", lambda: measured(
            out, made, options, truth, state))

    parts = {
        "strong": once(work / "strong.json", lambda: strong(
            load_checkpoint(options.checkpoint).flow_map, system, of_paths, options.points,
            options.seed)),
        "cost": once(work / "cost.json", lambda: cost(checkpoint, of_paths, options)),
        "lags": {f"{lag:g}": walk(f"lag-{lag:g}", lag) for lag in lags},
        "states": {
            "350K": walk("350K", options.headline, temperature="350K"),
            "friction_times_10": walk(
                "friction", options.headline, friction=10.0 * checkpoint.flow_map.friction
            ),
        },
        "residual_noise": None if checkpoint.residual is None else walk(
            "residual-noise", options.headline, residual_noise=True),
    }  # fmt: skip
    write_results(options.out / "dynamics.json", {
        "summary": summarised(parts, lags), **parts, "chains": options.chains,
        "seed": options.seed, "headline_fs": options.headline,
        "checkpoint": {"weights_sha256": checkpoint.weights_hash},
        "md": None if truth["series"] is None else {
            "runs": len(truth["series"].runs), "length_ps": truth["series"].length},
    }, {"device": options.device}, openmm=openmm.__version__)  # fmt: skip


if __name__ == "__main__":
    main()
