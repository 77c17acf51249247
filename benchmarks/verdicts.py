"""How often the verdict is wrong about perfect samples, and which defects it sees.

    python benchmarks/verdicts.py --work WORK/verdicts.json

Ensembles and references of alanine dipeptide are drawn anew from one law for every comparison: the
weighted frames that are shipped as `reference-flattened`. Whatever the verdict calls fair or bad in
such a pair is a false alarm. Then twenty-one defects are planted, each in growing sizes
(`planted.DEFECTS`), and the smallest size is told from which on every trial was caught, in the
aspect of the verdict where it belongs. Writes ``results/verdicts.json``; goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
from planted import DEFECTS, SYSTEM, Draw, Pool, runs_of_md
from record import command_line, environment
from scipy.stats import binomtest

from molflow.analysis import scorecard
from molflow.analysis.features import features_of
from molflow.analysis.floor import scored_part
from molflow.analysis.kinetics.frame_times import FrameTimes
from molflow.analysis.kinetics.order_in_time import order_in_time
from molflow.analysis.metrics.registry import metrics_of
from molflow.analysis.reference import Reference
from molflow.analysis.samples import measure_samples
from molflow.analysis.verdict import relaxation_level, verdict
from molflow.comparison import find_reference
from molflow.files import read_json, write_json

#: The scores that the verdict hangs on; the others would only take time.
JUDGED = {
    "fes_rmse", "delta_f_alpha_l_error", "torsion_misplaced_worst", "energy_w1", "energy_tail",
    "bond_stiffness",
}  # fmt: skip
SIZES, FRAMES = (300, 1_000, 10_000), 6_000
#: Least frames from the start of a piece of molecular dynamics to that of the next.
MD_EVERY = 500
#: Samples in which defects are planted.
PLANTED_IN = 1_000


def judge(draw: Draw, truth: Reference, seed: int, interval: float | None = None) -> dict[str, str]:
    """Return the level of every aspect of the verdict on an ensemble."""
    atoms = np.arange(truth.topology.n_atoms)
    features = features_of(scored_part(truth), atoms)
    samples = measure_samples([draw.xyz], len(draw.xyz), features, draw.energies)
    runs = np.zeros(len(draw.xyz), int)
    times = None if interval is None else FrameTimes(interval, runs, True)
    result = scorecard.score(samples, truth, seed, False, times)
    return {c["aspect"]: c["level"] for c in verdict(result)["checks"]}


def alarms(levels: dict[str, str]) -> list[str]:
    """Return the aspects that are called fair or bad."""
    return [aspect for aspect, level in levels.items() if level in ("fair", "bad")]


class Judgements:
    """What was judged so far, by key; kept in a file."""

    def __init__(self, path: Path, seed: int):
        self.path, self.seed, self.pool = path, seed, Pool()
        self.rows: dict[str, list] = read_json(path) if path.exists() else {}

    def perfect(self, n: int, correlated: bool, trials: int) -> Iterator[None]:
        """Judge perfect samples."""
        key = f"{'correlated' if correlated else 'independent'} {n}"
        rows = self.rows.setdefault(key, [])
        for trial in range(len(rows), trials):
            rng = np.random.default_rng([self.seed, n, correlated, trial])
            truth = self.pool.reference(FRAMES, rng, correlated)
            chosen = self.pool.correlated_rows if correlated else self.pool.rows
            draw = self.pool.draw(chosen(n, rng), rng)
            rows.append(alarms(judge(draw, truth, trial, 1.0 if correlated else None)))
            yield

    def planted(self, name: str, trials: int) -> Iterator[None]:
        """Judge a defect in growing sizes."""
        plant, sizes, _, aspects = DEFECTS[name]
        timed = aspects == ("Order in time",)
        for size in sizes:
            rows = self.rows.setdefault(f"{name} {size:g}", [])
            for trial in range(len(rows), trials):
                rng = np.random.default_rng([self.seed, list(DEFECTS).index(name), trial])
                truth = self.pool.reference(FRAMES, rng, timed)
                draw = plant(self.pool, size, PLANTED_IN, rng)
                levels = judge(draw, truth, trial, 1.0 if timed else None)
                rows.append(bool(set(alarms(levels)) & set(aspects)))
                yield

    def order_of_md(self, n: int) -> Iterator[None]:
        """Judge the order in time of pieces of n frames of every run by the others."""
        truth, rows = find_reference(SYSTEM), self.rows.setdefault(f"order of MD {n}", [])
        step, columns = max(n, MD_EVERY), range(truth.torsions.shape[1])
        pieces = [
            (run, at)
            for run, frames in enumerate(np.bincount(truth.replica))
            for at in range(0, frames - n + 1, step)
        ]
        for run, at in pieces[len(rows) :]:
            rest = truth.select([other for other in truth.runs if other != run])
            torsions, runs = truth.select([run]).torsions[at : at + n], np.zeros(n, int)
            found = order_in_time(
                torsions, columns, runs, rest, rest.select(rest.runs[:2]), truth.frame_interval_ps
            )
            level = relaxation_level(found[1]["value"], found[1]["floor"], found[0]["by_chance"])
            rows.append(["Order in time"] if level in ("fair", "bad") else [])
            yield

    def md(self) -> Iterator[None]:
        """Judge every run of the shipped reference by the others."""
        rows = self.rows.setdefault("md", [])
        for truth, draw in runs_of_md()[len(rows) :]:
            rows.append(alarms(judge(draw, truth, len(rows))))
            yield


def rate(rows: list[list[str]]) -> dict:
    """Return how many verdicts were alarms, with the upper 95 % limit (Clopper and Pearson)."""
    count, n = sum(map(bool, rows)), len(rows)
    names = sorted({name for row in rows for name in row})
    return {
        "alarms": count, "comparisons": n, "share": count / n,
        "upper": float(binomtest(count, n).proportion_ci(0.90, "exact").high),
        "aspects": {name: sum(name in row for row in rows) for name in names},
    }  # fmt: skip


def caught(rows: dict[str, list], name: str) -> dict:
    """Return how often each size of a defect was caught, and from which size on always."""
    _, sizes, unit, _ = DEFECTS[name]
    found = {size: rows.get(f"{name} {size:g}", []) for size in sizes}
    above = None
    for size in reversed(sizes):
        if not found[size] or not all(found[size]):
            break
        above = size
    shares = {f"{s:g}": f"{sum(r)} of {len(r)}" for s, r in found.items()}
    return {"unit": unit, "caught": shares, "always_from": above}


def summarised(rows: dict[str, list]) -> dict:
    """Return the headline figures."""
    perfect = {k: rate(v) for k, v in rows.items() if v and k.startswith(("indep", "corr"))}
    pieces = {k: rate(v) for k, v in rows.items() if v and k.startswith("order of MD")}
    return {
        "false_alarms": perfect,
        "false_alarms_md": rate(rows["md"]) if rows.get("md") else None,
        "false_alarms_order_of_md": pieces,
        "power": {name: caught(rows, name) for name in DEFECTS},
        "planted_in": PLANTED_IN,
    }


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, seed=0)
    parser.add_argument("--work", type=Path, required=True, help="file of what is judged so far")
    parser.add_argument("--trials", type=int, default=400, help="perfect pairs of each size")
    parser.add_argument("--correlated", type=int, default=200, help="the same of correlated frames")
    parser.add_argument("--planted", type=int, default=6, help="trials of each size of a defect")
    options = parser.parse_args()
    # Only what is judged is scored.
    scorecard.metrics_of = lambda *kind, **which: [
        metric for metric in metrics_of(*kind, **which) if metric.name in JUDGED
    ]
    done = Judgements(options.work, options.seed)

    def all_work() -> Iterator[None]:
        yield from done.md()
        for n in SIZES[:2]:
            yield from done.order_of_md(n)
        # In rounds, so that a part of the work is a part of everything.
        for part in (0.1, 0.25, 0.5, 1.0):
            for n in SIZES:
                yield from done.perfect(n, False, round(part * options.trials))
                yield from done.perfect(n, True, round(part * options.correlated))
            for name in DEFECTS:
                yield from done.planted(name, max(1, round(part * options.planted)))

    def keep() -> None:
        write_json(options.work, done.rows)
        results = {
            "summary": summarised(done.rows), "rows": done.rows, "seed": options.seed,
            "reference_frames": FRAMES,
            **environment(mdtraj=mdtraj.__version__),
        }  # fmt: skip
        write_json(options.out / "verdicts.json", results)

    for count, _ in enumerate(all_work()):
        if count % 50 == 49:
            keep()
    keep()


if __name__ == "__main__":
    main()
