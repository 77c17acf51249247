"""Quality of the shipped alanine dipeptide ensemble against network evaluations.

    python benchmarks/few_steps.py

Draws 10,000 conformations at 1, 2, 4, 8 and 16 evaluations with three path seeds each, scores
them against the held-out runs of reference MD, measures how far samples of the same path are from
those of 64 evaluations, and writes ``benchmarks/results/few_steps.json`` (with machine, versions,
seeds and sizes) and the picture of the README.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from matplotlib.figure import Figure

import molflow
from molflow.analysis.plots import ramachandran
from molflow.analysis.torsions import phi_psi
from molflow.comparison import compare, find_reference
from molflow.files import replacing, write_json
from molflow.sampling.ensemble import sample
from molflow.training.checkpoint import load_checkpoint

HERE = Path(__file__).parent
SYSTEM = "alanine_dipeptide"


def metric(result: dict, name: str) -> dict:
    """Return value and floor of one score."""
    row = result["metrics"][name]
    return {"value": row["value"], "floor": row["floor"], "unit": row["unit"]}


def figures(result: dict) -> dict:
    """Pick what the README and the checks need out of a comparison."""
    ratios = [r["sd_ratio"] for r in result["geometry"] if r["kind"] == "bond"]
    names = (
        "fes_rmse", "pmf_error", "js_divergence", "torus_w2",
        "delta_f_alpha_l_error", "energy_w1", "energy_w2",
    )  # fmt: skip
    return {
        **{name: metric(result, name) for name in names},
        "valid": result["validity"]["valid"] / result["n"],
        "wrong_hand": result["validity"]["wrong_hand"],
        "bond_sd_ratio": {
            "median": float(np.median(ratios)), "lowest": min(ratios), "highest": max(ratios),
        },
        "basins": result["observables"]["basins"],
        "delta_f_alpha_l": result["observables"]["delta_f_alpha_l"],
    }  # fmt: skip


def run(steps: list[int], seeds: list[int], n: int) -> dict:
    """Sample and score at each step count with each seed."""
    checkpoint = load_checkpoint(SYSTEM)
    results, rates = {}, {}
    for nfe in steps:
        scored, spent = [], 0.0
        for seed in seeds:
            start = time.perf_counter()
            trajectory = sample(checkpoint, steps=nfe, n=n, path_seed=seed, progress=False)
            spent += time.perf_counter() - start
            scored.append(figures(compare(trajectory, SYSTEM)))
            row = scored[-1]
            print(
                f"{nfe:3d} evaluations, seed {seed}: fes_rmse {row['fes_rmse']['value']:.3f} kT "
                f"(floor {row['fes_rmse']['floor']:.3f}), valid {row['valid']:.2%}, "
                f"bond sd ratio {row['bond_sd_ratio']['median']:.3f}",
                flush=True,
            )
        results[str(nfe)] = scored
        rates[str(nfe)] = round(n * len(seeds) / spent, 1)
    return {
        "all_atom": {nfe: summarise(rows) for nfe, rows in results.items()},
        "samples_per_second": rates,
        "same_path_rmsd_nm": same_path(checkpoint, steps),
        "per_seed": results,
    }


def summarise(rows: list[dict]) -> dict:
    """Return mean over seeds of the headline figures, and the spread of the first."""
    fes = [row["fes_rmse"]["value"] for row in rows]
    return {
        "fes_rmse": float(np.mean(fes)),
        "fes_rmse_sd": float(np.std(fes, ddof=1)) if len(fes) > 1 else None,
        "fes_floor": float(np.mean([row["fes_rmse"]["floor"] for row in rows])),
        "js_divergence": float(np.mean([row["js_divergence"]["value"] for row in rows])),
        "js_floor": float(np.mean([row["js_divergence"]["floor"] for row in rows])),
        "pmf_error": float(np.mean([row["pmf_error"]["value"] for row in rows])),
        "pmf_floor": float(np.mean([row["pmf_error"]["floor"] for row in rows])),
        "delta_f_error": float(np.mean([_or_nan(row) for row in rows])),
        "energy_w2": float(np.mean([row["energy_w2"]["value"] for row in rows])),
        "energy_w2_floor": float(np.mean([row["energy_w2"]["floor"] for row in rows])),
        "bond_sd_ratio": float(np.mean([row["bond_sd_ratio"]["median"] for row in rows])),
        "bond_sd_ratio_range": [
            min(row["bond_sd_ratio"]["lowest"] for row in rows),
            max(row["bond_sd_ratio"]["highest"] for row in rows),
        ],
        "valid": float(np.mean([row["valid"] for row in rows])),
        "wrong_hand": int(sum(row["wrong_hand"] for row in rows)),
        "basins": {
            side: {
                name: float(np.mean([row["basins"][side][name] for row in rows]))
                for name in rows[0]["basins"][side]
            }
            for side in ("model", "reference")
        },
    }


def _or_nan(row: dict) -> float:
    value = row["delta_f_alpha_l_error"]["value"]
    return float("nan") if value is None else value


def same_path(checkpoint, steps: list[int], finest: int = 64, n: int = 512) -> dict:
    """Return heavy-atom RMSD (nm, superposed) to the sample of the same path in `finest` steps."""
    fine = sample(checkpoint, steps=finest, n=n, path_seed=100, progress=False)
    heavy = fine.topology.select("element != H")

    def rmsd(other):
        return np.array([mdtraj.rmsd(other[k], fine[k], atom_indices=heavy)[0] for k in range(n)])

    rows = {}
    for nfe in steps:
        values = rmsd(sample(checkpoint, steps=nfe, n=n, path_seed=100, progress=False))
        rows[str(nfe)] = {"mean": float(values.mean()), "median": float(np.median(values))}
    unrelated = rmsd(fine[::-1])
    rows["unrelated"] = {"mean": float(unrelated.mean()), "median": float(np.median(unrelated))}
    return rows | {"finest": finest, "n": n}


def pictures(folder: Path, nfe: int, n: int) -> None:
    """Draw the Ramachandran maps of MD and of the model side by side."""
    reference = find_reference(SYSTEM).held_out()
    model = phi_psi(sample(SYSTEM, steps=nfe, n=n))
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = ramachandran(model, reference.torsions, figure)
    left.set_title(f"molflow, {nfe} evaluations (n = {n:,})", fontsize=11)
    right.set_title(f"held-out MD (n = {len(reference.torsions):,})", fontsize=11)
    with replacing(folder / "few_steps.png") as temporary:
        figure.savefig(temporary, dpi=150)


def table(results: dict) -> str:
    """Return the README's table of a results file, in Markdown."""
    rows = [
        "| evaluations | `fes_rmse` / kT (floor) | error of ΔF(αL) / kT | energy W2 / kT (floor) "
        "| bond sd / MD | valid | wrong hand |",
        "|---|---|---|---|---|---|---|",
    ]
    summary = results["summary"]
    drawn = results["n"] * len(results["path_seeds"])
    for nfe, row in summary["all_atom"].items():
        rows.append(
            f"| {nfe} | {row['fes_rmse']:.2f} ({row['fes_floor']:.2f}) "
            f"| {row['delta_f_error']:.2f} "
            f"| {row['energy_w2']:.3g} ({row['energy_w2_floor']:.2f}) "
            f"| {row['bond_sd_ratio']:.2f} | {row['valid']:.2%} "
            f"| {row['wrong_hand']} of {drawn:,} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-n", type=int, default=10000)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    checkpoint = load_checkpoint(SYSTEM)
    summary = run(sorted(options.steps), options.seeds, options.n)
    per_seed = summary.pop("per_seed")
    write_json(
        options.out / "few_steps.json",
        {
            "summary": summary,
            "per_seed": per_seed,
            "n": options.n,
            "path_seeds": options.seeds,
            "checkpoint": {
                "weights_sha256": checkpoint.weights_hash,
                "parameters": checkpoint.description["parameters"],
                "split": checkpoint.description["split"],
            },
            "machine": {
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "torch_threads": torch.get_num_threads(),
                "device": "cpu",
                "precision": "float32",
            },
            "versions": {
                "molflow": molflow.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "openmm": openmm.__version__,
                "mdtraj": mdtraj.__version__,
                "numpy": np.__version__,
            },
            "date": datetime.date.today().isoformat(),
        },
    )
    pictures(options.out, 4, options.n)


if __name__ == "__main__":
    main()
