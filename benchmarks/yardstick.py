"""How fine the reference of alanine dipeptide is, by two methods, and what changes on it.

    python benchmarks/yardstick.py

The reference under a static bias in phi and psi (``systems/alanine_dipeptide/reference-flattened``)
against umbrella sampling with exchanges and MBAR (`umbrella.py`), its halves against each other,
the reference by tempering beside it, and the shipped map at few network calls against both. Writes
``benchmarks/results/yardstick.json``. Finished parts are kept in --work, so that an interrupted run
goes on where it was.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
from record import command_line, environment
from umbrella import WINDOWS, mbar_log_weights, run_of, spline, umbrella_free_energy

from molflow.analysis.flattened import free_energy_of
from molflow.analysis.observables import basin_marks
from molflow.analysis.reference import Reference, load_reference
from molflow.analysis.torsion_metrics import (
    delta_f_alpha_l,
    fes_rmse,
    free_energy,
    in_alpha_l,
    smoothed_density,
)
from molflow.analysis.weighting import effective_size, normalised
from molflow.comparison import find_reference
from molflow.files import read_arrays, write_arrays, write_json
from molflow.md.bias import load_bias
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.units import thermal_energy
from molflow.workers import spawning

SYSTEM, NAME = "alanine_dipeptide", "reference-flattened"
STEPS = (1, 2, 4, 8)
#: Ways to halve the runs that the difference of halves is averaged over, and draws of a floor.
HALVINGS, DRAWS = 20, 10


def of_runs(torsions: list[np.ndarray], log_weights: list[np.ndarray]) -> dict:
    """Return the free energy of alpha-L of weighted runs, with its error."""
    return free_energy_of([in_alpha_l(run) for run in torsions], log_weights)


def split(reference: Reference) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return phi and psi, and log weights (zeros if they are equal), of each run."""
    weights = reference.log_weights
    weights = np.zeros(len(reference.torsions)) if weights is None else weights
    rows = [reference.replica == run for run in reference.runs]
    return [reference.torsions[r].astype(float) for r in rows], [weights[r] for r in rows]


def half_rmse(torsions: list[np.ndarray], log_weights: list[np.ndarray]) -> dict:
    """Return fes_rmse between halves of the runs: of the first half, and mean over halvings."""
    count = len(torsions)
    ways = [c for c in combinations(range(count), count // 2) if 0 in c]
    rng = np.random.default_rng(0)
    chosen = [ways[0], *(ways[k] for k in rng.permutation(len(ways) - 1)[: HALVINGS - 1] + 1)]
    found = []
    for one in chosen:
        sides = []
        for side in (one, tuple(set(range(count)) - set(one))):
            weights = normalised(np.concatenate([log_weights[run] for run in side]))
            sides.append((np.concatenate([torsions[run] for run in side]), weights))
        (a, wa), (b, wb) = sides
        found.append((fes_rmse(a, b, wa, wb) + fes_rmse(b, a, wb, wa)) / 2)
    return {"first_halves": found[0], "mean": float(np.mean(found)), "halvings": len(found)}


def regions(model: np.ndarray, torsions: np.ndarray, weights: np.ndarray | None) -> dict:
    """Return where the squared error of the map of free energy comes from.

    For each region its weight, the mean of F(model) - F(reference) there in kT (positive: too
    rare), and its share of the squared error that `fes_rmse` is the root of.
    """
    density = smoothed_density(torsions, weights=weights)
    truth = free_energy(density)
    inside = truth < 6.0
    weight = np.where(inside, density, 0.0) / density[inside].sum()
    found = free_energy(smoothed_density(model), cap=8.0)
    error = np.where(inside, found - np.where(inside, truth, 0.0), 0.0)
    error = np.where(inside, error - np.sum(weight * error), 0.0)
    size = len(truth)
    centres = -np.pi + 2 * np.pi * (np.arange(size) + 0.5) / size
    cells = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    marks = {name: mark.reshape(size, size) for name, mark in basin_marks(cells).items()}
    for low, high in ((0, 2), (2, 4), (4, 6)):
        marks[f"{low} to {high} kT"] = (truth >= low) & (truth < high)
    total = np.sum(weight * error**2)
    rows = {}
    for name, mark in marks.items():
        share = np.sum(weight[mark])
        rows[name] = {
            "weight": float(share),
            "mean_error": float(np.sum((weight * error)[mark]) / share) if share else None,
            "share_of_square": float(np.sum((weight * error**2)[mark]) / total),
        }
    return rows


def second_method(options) -> dict:
    """Return the free energy by umbrella sampling, and how its map compares with the reference."""
    system = load_system(SYSTEM)
    common = load_bias(system.folder / NAME / "bias.npz")
    folders = [options.work / f"umbrella-{run}" for run in range(options.umbrella_runs)]
    paths = []
    # A process each: OpenMM's Reference platform keeps one generator a process.
    with ProcessPoolExecutor(1, mp_context=spawning, max_tasks_per_child=1) as pool:
        for run, folder in enumerate(folders):
            task = pool.submit(run_of, system, common, options.umbrella_time, 100 + run, folder)
            paths.append(task.result())
            print("umbrella run", run, flush=True)
    runs = [read_arrays(path)["torsions"].astype(float) for path in paths]
    kt = thermal_energy(system.temperature)
    together = np.concatenate(runs)
    log_weights, _ = mbar_log_weights(
        together[..., 0], spline(common.tables[0], together), kt
    )
    return {
        "method": "umbrella sampling in phi with exchanges between windows, psi freed, MBAR",
        "windows": WINDOWS,
        "ns": len(runs) * WINDOWS * options.umbrella_time * 1e-3,
        "delta_f_alpha_l": umbrella_free_energy(runs, common.tables[0], in_alpha_l, kt),
        "torsions": together.reshape(-1, 2),
        "weights": np.exp(log_weights).ravel(),
    }


def sampled(options, nfe: int) -> np.ndarray:
    """Return phi and psi of samples of the shipped map, (n, 2)."""
    from molflow.analysis.torsions import phi_psi
    from molflow.sampling.ensemble import sample

    checkpoint = load_checkpoint(SYSTEM)
    path = options.work / f"map-{checkpoint.weights_hash[:12]}-{nfe}-{options.n}.npz"
    if not path.exists():
        drawn = sample(checkpoint, steps=nfe, n=options.n, path_seed=0, progress=False)
        write_arrays(path, torsions=phi_psi(drawn).astype(np.float32))
    print("map at", nfe, flush=True)
    return read_arrays(path)["torsions"].astype(float)


def floor(torsions: np.ndarray, weights: np.ndarray, n: int) -> float:
    """Return the mean fes_rmse of n independent draws from weighted frames against the frames."""
    rng = np.random.default_rng(0)
    drawn = [torsions[rng.choice(len(torsions), n, p=weights)] for _ in range(DRAWS)]
    return float(np.mean([fes_rmse(d, torsions, None, weights) for d in drawn]))


def table(results: dict) -> str:
    """Return the scores of the shipped map on both references as a Markdown table."""
    summary = results["summary"]
    steps = list(summary["map"])
    lines = ["| network calls | " + " | ".join(steps) + " |", "|---" * (len(steps) + 1) + "|"]
    for title, pick in (
        ("`fes_rmse`, reference by tempering", lambda row: f"{row['tempering']['fes_rmse']:.3f}"),
        ("`fes_rmse`, flattened reference", lambda row: f"{row['flattened']['fes_rmse']:.3f}"),
        ("error of ΔF(αL), tempering", lambda row: f"{row['tempering']['delta_f_error']:+.2f}"),
        ("error of ΔF(αL), flattened", lambda row: f"{row['flattened']['delta_f_error']:+.2f}"),
    ):
        cells = " | ".join(pick(summary["map"][k]) for k in steps)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def methods_table(results: dict) -> str:
    """Return the free energy of alpha-L by each method as a Markdown table."""
    summary = results["summary"]
    lines = ["| method | ns | ΔF(αL) / kT | 95 % interval |", "|---|---|---|---|"]
    for title, row in (
        ("static bias in φ and ψ, weights", summary["reference"]),
        ("umbrella sampling in windows of φ, MBAR", summary["second_method"]),
        ("parallel tempering", summary["old_reference"]),
    ):
        low, high = row["interval"]
        lines.append(
            f"| {title} | {row['ns']:.0f} | {row['delta_f_alpha_l']:.3f} ± "
            f"{row['delta_f_error']:.3f} | {low:.2f} to {high:.2f} |"
        )
    return "\n".join(lines)


def regions_table(results: dict) -> str:
    """Return where the squared error of the map at 4 network calls comes from, as a table."""
    rows = results["summary"]["map"]["4"]["regions"]
    names = {"beta": "β", "alpha_r": "αR", "alpha_l": "αL"}
    lines = ["| region | weight | mean error, kT | share of the squared error |"]
    lines.append("|---" * 4 + "|")
    for name, row in rows.items():
        mean = "" if row["mean_error"] is None else f"{row['mean_error']:+.2f}"
        lines.append(
            f"| {names.get(name, name)} | {row['weight']:.3f} | {mean} | "
            f"{row['share_of_square']:.2f} |"
        )
    return "\n".join(lines)


def _named(found: dict) -> dict:
    return {
        "delta_f_alpha_l": found["value"], "delta_f_error": found["error"],
        "interval": found["interval"], "by_run": found["by_run"],
    }  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, work=Path("outputs/yardstick"))
    parser.add_argument("--umbrella-runs", type=int, default=2)
    parser.add_argument(
        "--umbrella-time", type=float, default=300.0, help="ps of each window, a multiple of 20"
    )
    parser.add_argument("-n", type=int, default=20_000, help="samples of the map")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    new = load_reference(load_system(SYSTEM).folder / NAME)
    old = find_reference(SYSTEM)
    torsions, log_weights = split(new)
    truth, weights = np.concatenate(torsions), normalised(np.concatenate(log_weights))
    found, halves = of_runs(torsions, log_weights), half_rmse(torsions, log_weights)
    other = second_method(options)
    theirs = other.pop("torsions"), other.pop("weights")
    tempered = of_runs(*split(old))
    held = old.held_out().torsions.astype(float)
    rows = {}
    for nfe in STEPS:
        drawn = sampled(options, nfe)
        free = delta_f_alpha_l(drawn, least=0.5)
        rows[str(nfe)] = {
            "delta_f_alpha_l": free,
            "tempering": {
                "fes_rmse": fes_rmse(drawn, held),
                "delta_f_error": free - delta_f_alpha_l(held),
            },
            "flattened": {
                "fes_rmse": fes_rmse(drawn, truth, None, weights),
                "delta_f_error": free - found["value"],
            },
            "regions": regions(drawn, truth, weights),
        }
    ns = len(truth) * new.frame_interval_ps * 1e-3
    gap = found["value"] - other["delta_f_alpha_l"]["value"]
    both = np.hypot(found["error"], other["delta_f_alpha_l"]["error"])
    summary = {
        "reference": {
            **_named(found), "half_rmse": halves["mean"], "ns": ns, "frames": len(truth),
            "effective_size": effective_size(len(truth), weights),
            "crossings": {
                row["name"]: row["crossings"]
                for row in new.provenance["simulation"]["flattened"]["torsions"]
            },
        },
        "second_method": {
            **_named(other["delta_f_alpha_l"]), "ns": other["ns"], "method": other["method"],
            "windows": other["windows"],
            "fes_rmse": fes_rmse(*(theirs[0], truth), theirs[1], weights),
            "difference": gap, "difference_in_errors": float(abs(gap) / both),
        },
        "old_reference": {
            **_named(tempered), "ns": len(old.torsions) * old.frame_interval_ps * 1e-3,
            "metadynamics": (old.delta_f_alpha_l or {}).get("value"),
            "fes_rmse": fes_rmse(old.torsions.astype(float), truth, None, weights),
            "held_out_fes_rmse": fes_rmse(held, truth, None, weights),
            "held_out_delta_f": delta_f_alpha_l(held),
            "half_rmse": half_rmse(*split(old))["mean"],
        },
        "map": rows,
        "checkpoint": {"weights_sha256": load_checkpoint(SYSTEM).weights_hash},
        "samples": options.n,
        "floor": {
            "flattened": floor(truth, weights, options.n),
            "tempering": fes_rmse(
                old.select([r for r in old.runs if r not in old.held_out_runs]).torsions.astype(
                    float
                ),
                held,
            ),
        },
    }  # fmt: skip
    results = {**environment(), "half_rmse": halves, "summary": summary}
    write_json(options.out / "yardstick.json", results)
    print(methods_table(results), table(results), regions_table(results), sep="\n\n")


if __name__ == "__main__":
    main()
