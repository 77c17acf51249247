"""Alanine dipeptide on the record: the shipped checkpoints and their baselines, by network calls.

    python benchmarks/alanine_dipeptide.py

All atoms against the flattened reference, weighted frames of which no map has seen any: the strong
map at 1 to 20 network calls with three path seeds, its torsions once more with a hundred thousand
samples; the reverse diffusion and the probability flow solved with the same network
(`same_network.py`), and MD that runs for as many processor seconds as the map samples, with one
seed each. Five beads by the published protocol: 100,000 samples against the frames of the training
runs, with the deterministic flow map (trained alike with ``map.eta=0``) as one more baseline if
--deterministic names its checkpoint. How near the conformation of a path is to that of 64
network calls. Speed in effectively independent samples a second beside OpenMM. Writes
``benchmarks/results/alanine_dipeptide.json`` and pictures. Finished parts are kept in --work, so
that an interrupted run goes on where it was; with --atoms five beads stay as the results have them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from dipeptide_scores import (
    BEADS,
    SYSTEM,
    all_atom,
    beads,
    beads_floor,
    positions,
    same_path,
    short_md,
    speed,
    torsions,
    yardstick_torsions,
)
from matplotlib.figure import Figure
from record import (
    RESULTS,
    against_steps,
    command_line,
    known,
    markdown,
    once,
    save,
    write_results,
)
from same_network import SOLVERS

from molflow.analysis.plots import ramachandran
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import systematic
from molflow.files import read_json
from molflow.step_study.summary import summarise
from molflow.step_study.summary import table as study_table
from molflow.training.checkpoint import Checkpoint, load_checkpoint

STEPS = (1, 2, 4, 8, 16, 20)
#: Network calls of samplers to compare with; of five beads, and of samplers to compare them with.
BASELINE_STEPS = (1, 2, 4, 8, 16)
BEADS_STEPS, BEADS_BASELINE_STEPS = (1, 2, 4, 8, 20), (1, 2, 4, 8)
FINEST, SAME_PATH_N = 64, 512
#: Where torsions are scored with more samples than all atoms.
TORSION_STEPS = (1, 2, 4, 8)
#: Published for five beads (strong stochastic flow maps, arXiv 2606.01086): pmf_error, 100 JS.
PUBLISHED = {"2": (0.235, 1.990), "20": (0.089, 0.860), "100": (0.067, 0.640)}


def mean_beads(rows: list[dict]) -> dict:
    """Return means over seeds, None where a solver diverged."""
    if any(row["js"] is None for row in rows):
        return {"pmf_error": None, "js": None}
    return {name: float(np.mean([row[name] for row in rows])) for name in ("pmf_error", "js")}


def by_sampler(summary: dict, kind: str) -> dict:
    """Return the scores of one kind, those of the map first and then of all baselines with any."""
    baselines = summary["baselines"].items()
    return {"molflow": summary[kind]} | {name: row[kind] for name, row in baselines if kind in row}


def table(results: dict) -> str:
    """Return fes_rmse and energy W2 of the map and all baselines as a Markdown table."""
    rows = by_sampler(results["summary"], "all_atom")
    steps = [str(k) for k in results["steps"]]
    return markdown(["network calls", *steps], (
        [name.replace("_", " "), *(_cell(row[k]) if k in row else "" for k in steps)]
        for name, row in rows.items()
    ))  # fmt: skip


def _cell(row: dict | None) -> str:
    if row is None:
        return "diverges"
    energy = "–" if row["energy_w2"] is None else f"{row['energy_w2']:.2g}"
    return f"{row['fes_rmse']:.2f} / {energy}"


def beads_table(results: dict) -> str:
    """Return pmf_error and 100 JS of five beads, ours and published, as a Markdown table."""
    rows = by_sampler(results["summary"], "beads5")
    steps = list(rows["molflow"]["pmf_error"])
    lines = [
        [name.replace("_", " "), *(_beads_cell(row, k) if k in row["js"] else "" for k in steps)]
        for name, row in rows.items()
    ]
    theirs = (f"{PUBLISHED[k][0]:g} / {PUBLISHED[k][1]:g}" if k in PUBLISHED else "" for k in steps)
    return markdown(["network calls", *steps], [*lines, ["published strong map", *theirs]])


def _beads_cell(row: dict, steps: str) -> str:
    if row["js"][steps] is None:
        return "diverges"
    return f"{row['pmf_error'][steps]:.3g} / {row['js'][steps]:.3g}"


def quality_table(results: dict) -> str:
    """Return the README's table, in Markdown: the sizes of sample that are the largest."""
    n, seeds = results["n"], len(results["seeds"])
    largest = max(n.values())
    rows = {k: row for k, row in results["summary"]["all_atom"].items() if n[k] == largest}
    return study_table(rows, largest * seeds)


def maps(checkpoint: Checkpoint, nfe: int, n: int, path: Path) -> None:
    """Draw the Ramachandran maps of MD and of the model side by side."""
    truth, weights = yardstick_torsions()
    model = phi_psi(mdtraj.Trajectory(positions(checkpoint, "molflow", n, nfe, 0),
                                      checkpoint.topology()))  # fmt: skip
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    even = truth[systematic(weights, len(truth), 0.5)]
    left, right = ramachandran(model, even, figure)
    left.set_title(f"molflow, {nfe} network calls (n = {n:,})", fontsize=11)
    right.set_title("flattened MD, 100 ns, weighted", fontsize=11)
    save(figure, path)


def picture(summary: dict, path: Path) -> None:
    """Draw the scores of the map and of the baselines against network calls."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    axes = dict(zip(("fes_rmse", "energy_w2"), figure.subplots(1, 2), strict=True))
    labels = {"fes_rmse": "fes_rmse / kT", "energy_w2": "energy W2 / kT"}
    floors = {"fes_rmse": "fes_floor", "energy_w2": "energy_w2_floor"}
    rows = by_sampler(summary, "all_atom")
    for name, ax in axes.items():
        for mark, (label, row) in zip("os^vDX", rows.items(), strict=False):
            ax.plot(*known(row, name), mark + "-", label=label.replace("_", " "), ms=5)
        floor = [row[floors[name]] for row in summary["all_atom"].values()]
        ax.plot([int(k) for k in summary["all_atom"]], floor, "k:", label="floor (MD against MD)")
        against_steps(ax, STEPS, xlabel="network calls", ylabel=labels[name])
        ax.set_xticks(STEPS, ["" if k == 20 else str(k) for k in STEPS])
    axes["energy_w2"].set_ylim(0.1, 1e4)
    axes["energy_w2"].legend(frameon=False, fontsize=8, loc="upper right")
    save(figure, path)


class Pieces:
    """Finished scores in a folder, by checkpoint, sampler, network calls, size and seed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def once(self, kind: str, checkpoint: Checkpoint, key: str, make) -> dict:
        """Return one piece, made now if it is not there."""
        folder = self.folder / f"{kind}-{checkpoint.weights_hash[:12]}"
        row = once(folder / f"{key}.json", make)
        scores = row.get("figures") or {}
        print(kind, key, scores.get("fes_rmse", {}).get("value", row.get("pmf_error")), flush=True)
        return row

    def scores(
        self, kind: str, make, checkpoint: Checkpoint, name: str, sizes: dict, seeds: list[int]
    ) -> dict:
        """Return the rows of one sampler, a list over seeds for each number of network calls."""
        return {
            str(nfe): [
                self.once(kind, checkpoint, f"{name}-{nfe}-{n}-{seed}",
                          partial(make, checkpoint, name, n, nfe, seed))
                for seed in seeds
            ]
            for nfe, n in sizes.items()
        }  # fmt: skip

    def short_md(self, checkpoint: Checkpoint, sampled: dict, seeds: list[int]) -> dict:
        """Return the rows of MD as long as the map sampled, by network calls of the map."""
        return {
            nfe: [
                self.once("all_atom", checkpoint, f"short_md-{nfe}-{row['n']}-{seed}",
                          partial(short_md, row["seconds"], row["n"], seed))
                for seed, row in zip(seeds, rows, strict=False)
            ]
            for nfe, rows in sampled.items()
            if int(nfe) in BASELINE_STEPS
        }  # fmt: skip


def atom_summary(rows: dict) -> dict:
    """Return what a table needs of one sampler by network calls, None where it diverged."""
    return {
        nfe: summarise([row["figures"] for row in parts])
        | {"angle_sd_ratio": float(np.mean([row["angle_sd_ratio"] for row in parts]))}
        if all(row["figures"] for row in parts)
        else None
        for nfe, parts in rows.items()
    }


def beads_summary(rows: dict) -> dict:
    """Return both published scores of one sampler, each by network calls."""
    means = {nfe: mean_beads(parts) for nfe, parts in rows.items()}
    return {name: {nfe: row[name] for nfe, row in means.items()} for name in ("pmf_error", "js")}


def five_beads(
    pieces: Pieces,
    coarse: Checkpoint,
    deterministic: Checkpoint | None,
    options: argparse.Namespace,
) -> dict:
    """Return both published scores by sampler, with the floor beside those of the map."""
    seeds, n = options.seeds, options.beads_n
    many = {k: n for k in options.steps if k in BEADS_STEPS}
    fewer = {k: n for k in many if k in BEADS_BASELINE_STEPS}
    found = {"molflow": pieces.scores("beads5", beads, coarse, "molflow", many, seeds)}
    for name in SOLVERS:
        found[name] = pieces.scores("beads5", beads, coarse, name, fewer, seeds[:1])
    if deterministic is not None:
        name = "deterministic_flow_map"
        found[name] = pieces.scores("beads5", beads, deterministic, name, fewer, seeds[:1])
    scores = {name: beads_summary(rows) for name, rows in found.items()}
    floor = mean_beads([beads_floor(coarse, n, seed) for seed in seeds])
    return scores | {"molflow": scores["molflow"] | {"floor": floor}}


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, work=Path("outputs/alanine_dipeptide"))
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-n", type=int, default=10_000, help="samples of all atoms")
    parser.add_argument("--torsions-n", type=int, default=100_000)
    parser.add_argument("--beads-n", type=int, default=100_000)
    parser.add_argument("--atoms", action="store_true", help="score all atoms alone")
    parser.add_argument(
        "--most", type=int, default=100_000, help="network calls a piece: beyond it n is less"
    )
    parser.add_argument("--deterministic", type=Path, help="five-bead checkpoint with eta 0")
    parser.add_argument(
        "--compile", action="store_true", help="make machine code of the networks first"
    )
    options = parser.parse_args()
    full, coarse = load_checkpoint(SYSTEM), load_checkpoint(BEADS)
    deterministic = options.deterministic and load_checkpoint(options.deterministic)
    if options.compile:
        for checkpoint in (full, coarse, deterministic):
            if checkpoint is not None:
                checkpoint.flow_map.compile_parts()
    pieces, seeds = Pieces(options.work), options.seeds
    sizes = {k: min(options.n, max(1000, options.most // k)) for k in options.steps}
    few = {k: n for k, n in sizes.items() if k in BASELINE_STEPS}
    found = {"molflow": pieces.scores("all_atom", all_atom, full, "molflow", sizes, seeds)}
    many = {k: options.torsions_n for k in options.steps if k in TORSION_STEPS}
    alone = pieces.scores("torsions", torsions, full, "molflow", many, seeds[:1])
    found["short_md"] = pieces.short_md(full, found["molflow"], seeds[:1])
    for name in SOLVERS:
        found[name] = pieces.scores("all_atom", all_atom, full, name, few, seeds[:1])
    path = options.out / "alanine_dipeptide.json"
    if options.atoms:
        before = read_json(path)
        if before["checkpoints"]["beads5"] != coarse.weights_hash:
            parser.error("--atoms: the results are of beads of another checkpoint: leave it out")
        on_beads, beads_n = by_sampler(before["summary"], "beads5"), before["beads_n"]
    else:
        on_beads = five_beads(pieces, coarse, deterministic, options)
        beads_n = options.beads_n
    paths = pieces.once(
        "all_atom", full, "same_path", lambda: same_path(full, list(few), FINEST, SAME_PATH_N, 0)
    )
    rates = {
        nfe: sum(row["n"] for row in rows) / sum(row["seconds"] for row in rows)
        for nfe, rows in found["molflow"].items()
    }
    speeds = speed(rates)
    baselines = {
        name: ({"all_atom": atom_summary(found[name])} if name in found else {})
        | ({"beads5": on_beads[name]} if name in on_beads else {})
        for name in (found | on_beads)
        if name != "molflow"
    }
    yardstick = read_json(RESULTS / "yardstick.json")["summary"]["reference"]
    summary = {
        "reference": {
            name: yardstick[name] for name in ("delta_f_alpha_l", "delta_f_error", "half_rmse")
        },
        "all_atom": atom_summary(found["molflow"]),
        "torsions": {nfe: rows[0] for nfe, rows in alone.items()},
        "beads5": on_beads["molflow"],
        "baselines": baselines,
        "same_path": paths,
        "speedup_cpu": rates["4"] / speeds["md_samples_per_second"] if "4" in rates else None,
        "speedup_gpu": None,
    }
    results = {
        "summary": summary,
        "speed": speeds,
        "short_md_ps": {k: [row["ps"] for row in rows] for k, rows in found["short_md"].items()},
        "per_seed": {
            name: {nfe: [row["figures"] for row in rows] for nfe, rows in parts.items()}
            for name, parts in found.items()
        },
        "steps": options.steps,
        "n": {nfe: rows[0]["n"] for nfe, rows in found["molflow"].items()},
        "beads_n": beads_n,
        "seeds": options.seeds,
        "baseline_seeds": seeds[:1],
        "compiled": options.compile,
        "checkpoints": {"all_atom": full.weights_hash, "beads5": coarse.weights_hash},
    }
    versions = {"openmm": openmm.__version__, "mdtraj": mdtraj.__version__}
    write_results(path, results, **versions)
    picture(summary, options.out / "alanine_dipeptide.png")
    maps(full, 4, options.n, options.out / "alanine_dipeptide_maps.png")
    print(quality_table(results), table(results), beads_table(results), sep="\n\n")


if __name__ == "__main__":
    main()
