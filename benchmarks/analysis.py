"""What the comparison of ensembles sees, what it costs, and where its floor lies.

    python benchmarks/analysis.py

Makes ensembles of alanine dipeptide with one known defect each out of reference MD and asks for the
verdict; times the comparison of 100,000 conformations and its memory; scores perfect samples of
1,000 to 1,000,000 torsions; and writes ``benchmarks/results/analysis.json``.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from measuring import status
from record import command_line, environment

from molflow.analysis.metrics.registry import metrics_of
from molflow.analysis.reference import Reference
from molflow.analysis.scorecard import Side, rows_of
from molflow.analysis.torsion_metrics import smoothed_density
from molflow.comparison import compare, find_reference
from molflow.files import read_json, write_json
from molflow.md.simulate import simulate
from molflow.testing.defects import broken, mirrored, repeated, stiffened, without_alpha_l
from molflow.workers import number_of_jobs, spawning

SYSTEM = "alanine_dipeptide"
#: The aspect of the verdict that has to name each defect, and a word of its sentence.
EXPECTED = {
    "mirrored": ("Validity and chirality", "mirror images"),
    "alpha_l_missing": ("Basins", "αL"),
    "stiff_bonds": ("Bond fluctuations", "too stiff"),
    "broken": ("Validity and chirality", "broken"),
    "repeated": ("Repeated samples", "exact copies"),
    "time_shuffled": ("Order in time", "shuffled"),
}


def judged(frames, reference, name: str, control: dict | None, **options) -> dict:
    """Compare and say whether the defect was seen where it should be, and was not there before."""
    result = compare(frames, reference, exact_transport=False, **options)
    checks = {check["aspect"]: check for check in result["verdict"]["checks"]}
    told = " ".join(c["sentence"] for c in checks.values() if c["level"] in ("fair", "bad"))
    row = {
        "verdict": f"{result['verdict']['headline']} {told}".strip(),
        "level": result["verdict"]["level"],
        "levels": {aspect: check["level"] for aspect, check in checks.items()},
        "n": result["n"],
    }
    if control is not None:
        aspect, word = EXPECTED[name]
        check = checks.get(aspect, {"level": "good", "sentence": ""})
        row["detected"] = (
            check["level"] in ("fair", "bad")
            and word in check["sentence"]
            and control["levels"].get(aspect, "good") == "good"
        )
    print(f"{name}: {row}", flush=True)
    return row


def defects(reference: str, seed: int) -> tuple[dict, dict]:
    """Return the verdicts on ensembles with one defect each, and those on the sound controls."""
    truth = find_reference(reference)
    others = [run for run in truth.runs if run not in truth.held_out_runs]
    frames = mdtraj.Trajectory(truth.select(others).positions, truth.topology)
    rng = np.random.default_rng(seed)
    control = judged(frames, reference, "control", None)
    made = {
        "mirrored": mirrored(frames, 0.05, rng),
        "alpha_l_missing": without_alpha_l(frames),
        "stiff_bonds": stiffened(frames, 1.2),
        "broken": broken(frames, 0.02, rng),
        "repeated": repeated(frames, 0.05, rng),
    }
    rows = {name: judged(x, reference, name, control) for name, x in made.items()}
    with tempfile.TemporaryDirectory() as folder:
        # Plain MD, frames near enough for the torsions to remember: one run judges the other.
        simulate(
            SYSTEM, "300ps", replicas=2, out=folder, frame_interval="0.2ps", seed=seed,
            progress=False,
        )  # fmt: skip
        first = mdtraj.load(f"{folder}/replica-0.dcd", top=f"{folder}/topology.pdb")
        first.time = 0.2 * np.arange(len(first))
        first.save(f"{folder}/md.h5")
        second = mdtraj.load(f"{folder}/replica-1.dcd", top=f"{folder}/topology.pdb")
        shuffled = second[rng.permutation(len(second))]
        options = {"frame_interval": "0.2ps"}
        in_order = judged(second, f"{folder}/md.h5", "in order", None, **options)
        rows["time_shuffled"] = judged(
            shuffled, f"{folder}/md.h5", "time_shuffled", in_order, **options
        )
    return rows, {"sound": control, "in_order": in_order}


def _measure(path: str, reference: str, jobs: int) -> dict:
    start = time.perf_counter()
    result = compare(path, reference, exact_transport=False, jobs=jobs)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "n": result["n"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(u.ru_utime + u.ru_stime for u in used), 1),
        "peak_mib": round(status("VmHWM") / 2**20, 1),
        "energies": "energy_w1" in result["metrics"],
        "load_average": round(os.getloadavg()[0], 1),
    }


def cost(reference: str, n: int, jobs: int, seed: int) -> dict:
    """Time the comparison of a DCD file of n conformations in a fresh process."""
    truth, rng = find_reference(reference), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ensemble.dcd"
        mdtraj.Trajectory(truth.positions[:1], truth.topology).save(f"{folder}/topology.pdb")
        with mdtraj.formats.DCDTrajectoryFile(str(path), "w") as file:
            for start in range(0, n, 10_000):
                size = min(10_000, n - start)
                drawn = truth.positions[rng.integers(len(truth.positions), size=size)]
                # Frames of MD with a tremble below any bond's, so that none is a copy of another.
                trembling = drawn + rng.normal(scale=1e-4, size=drawn.shape)
                file.write(10 * trembling.astype(np.float32))
        with ProcessPoolExecutor(1, mp_context=spawning) as fresh:
            row = fresh.submit(_measure, str(path), reference, jobs).result()
        row["file_mib"] = round(path.stat().st_size / 2**20, 1)
    print(f"cost: {row}", flush=True)
    return row


def draw(density: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw torsions (n, 1, 2) from a density on bins of (phi, psi)."""
    bins = len(density)
    cell = rng.choice(density.size, size=n, p=density.ravel() / density.sum())
    place = np.stack(np.divmod(cell, bins), axis=1) + rng.random((n, 2))
    return (place * (2 * np.pi / bins) - np.pi).astype(np.float32)[:, None]


def perfect(truth: Reference, n: int, seed: int, pairs: int = 4) -> dict:
    """Score n samples against n of the same law, beside the floor of other pairs of that law."""
    density, rng = smoothed_density(truth.torsions), np.random.default_rng(seed)

    def side() -> Side:
        return Side(draw(density, n, rng), np.zeros(n, int), 1)

    floors = [(side(), side()) for _ in range(pairs)]
    metrics = metrics_of("backbone", shown=False, slow=False)
    rows = rows_of(metrics, "backbone", side(), side(), floors, rng)
    kept = {}
    for name, row in rows.items():
        sd = (row["interval"][1] - row["value"]) / 1.96
        # The floor is itself a mean of a few draws.
        kept[name] = {
            "value": row["value"], "floor": row["floor"],
            "excess_in_standard_errors": float(row["excess"] / (sd * np.sqrt(1 + 1 / pairs))),
        }  # fmt: skip
    worst = max(abs(row["excess_in_standard_errors"]) for row in kept.values())
    print(f"perfect, {n}: pmf_error {kept['pmf_error']}, worst {worst:.2f}", flush=True)
    return kept


def part_defects(options: Namespace) -> dict:
    """Return the part of the results on defects."""
    rows, controls = defects(options.reference, options.seed)
    return {"rows": rows, "controls": controls}


def part_cost(options: Namespace) -> dict:
    """Return the part of the results on time and memory."""

    def row(n: int) -> dict:
        return cost(options.reference, n, options.jobs, options.seed)

    # The machine may be busy with other work: the shortest of a few is nearest to the cost.
    timed = [row(options.n) for _ in range(options.repeats)]
    return {"timed": timed, "memory": [row(n) for n in options.memory], "jobs": options.jobs}


def part_floor(options: Namespace) -> dict:
    """Return the part of the results on perfect samples."""
    truth = find_reference(options.reference)
    return {"rows": {str(n): perfect(truth, n, options.seed) for n in options.sizes}}


PARTS = {"defects": part_defects, "cost": part_cost, "floor": part_floor}


def summarised(parts: dict) -> dict:
    """Return the headline figures of all parts."""
    timed = min(parts["cost"]["timed"], key=lambda row: row["seconds"])
    rows = [row for part in parts["floor"]["rows"].values() for row in part.values()]
    off = [abs(row["excess_in_standard_errors"]) for row in rows]
    return {
        "seconds_100k": timed["seconds"],
        "processor_seconds_100k": timed["processor_seconds"],
        "load_average": timed["load_average"],
        "peak_mib": timed["peak_mib"],
        "defects": {
            name: {"detected": row["detected"], "verdict": row["verdict"]}
            for name, row in parts["defects"]["rows"].items()
        },
        "controls": {name: row["level"] for name, row in parts["defects"]["controls"].items()},
        "perfect_samples": {
            "sizes": [int(n) for n in parts["floor"]["rows"]],
            "largest_excess_in_standard_errors": max(off),
            "root_mean_square": float(np.sqrt(np.mean(np.square(off)))),
        },
    }


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, seed=0)
    parser.add_argument("--reference", default=SYSTEM, help="built-in system or simulation folder")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS),
        help="the others stay as they are in the results, so that time is taken on a quiet machine",
    )  # fmt: skip
    parser.add_argument("--n", type=int, default=100_000, help="conformations to time")
    parser.add_argument("--repeats", type=int, default=3, help="how often to time it")
    parser.add_argument("--memory", type=int, nargs="*", default=[25_000, 400_000])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--jobs", type=int, default=number_of_jobs(None, 2))
    options = parser.parse_args()
    path = options.out / "analysis.json"
    parts = {}
    if set(options.parts) != set(PARTS):
        parts = read_json(path)["parts"]
    for name in options.parts:
        start = time.perf_counter()
        parts[name] = PARTS[name](options) | {
            "reference": options.reference,
            "seed": options.seed,
            "seconds": round(time.perf_counter() - start, 1),
            **environment(openmm=openmm.__version__, mdtraj=mdtraj.__version__),
        }
    write_json(path, {"summary": summarised(parts), "parts": parts})


if __name__ == "__main__":
    main()
