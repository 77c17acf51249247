"""One map for many molecules: one it has not seen, what a start from it is worth, what sizes cost.

    python benchmarks/many_molecules.py --work WORK

Capped residues ACE-X-NME: data of molflow's own dynamics, flattened in phi and psi and with
weights; one training on all but the held-out ones; samples of these, raw and refined, against their
own dynamics, beside MD of equal cost; then some processor minutes of training on each alone, from
the shared map and from random weights of the dense network. The shared map may come from a GPU
(`gpu/train_many.py`): its run as ``WORK/shared``, its ``training.json`` as
``WORK/shared.gpu.json``. ``--parts crossover`` measures what a step of training costs by network
and number of atoms, and what padding would: on a quiet machine. ``--parts tripeptide`` and
``--parts tetrapeptide`` score the shipped maps of two alanine peptides (`alanine_peptides.py`),
``--parts chignolin`` that of chignolin (`chignolin.py`). Every part stays in WORK, and an
interrupted one goes on. Writes ``benchmarks/results/many.json``.
"""

from __future__ import annotations

import csv
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from alanine_peptides import PEPTIDES, peptide_scores, peptide_table, reference_table
from chignolin import SYSTEM as CHIGNOLIN
from chignolin import chignolin_scores, chignolin_table
from dipeptide_scores import md_frames
from mdtraj import Trajectory
from measuring import interleaved
from networks import inputs, network
from peptides import DIPEPTIDE, peptide
from record import add_part, command_line, markdown, once

from molflow.budget import network_words
from molflow.comparison import compare
from molflow.files import read_json
from molflow.step_study.summary import figures
from molflow.systems import load_system
from molflow.training.configuration import load_configuration
from molflow.training.cost import training_steps

#: Of all maps.
WORDS = ("network.heads=8", "map.eta=0.25", "validate_every=1000")
BATCH, CALLS, REFINE = 30, 8, 200
#: Residues without a side chain that turns.
NO_CHI1 = ("ala", "gly")
#: Of a training on one molecule: a score of its map after so many steps, to see what time gives.
CURVE = ("steps_per_epoch=100", "validate_every=1", "validation_samples=512")
WATCHED = "val/torsion_js_distance@4"
#: Of the table of costs: sizes of molecules with how many of them are in a batch, networks, rounds.
ATOMS = {22: 16, 32: 16, 42: 8, 138: 2, 300: 1}
NETWORKS = {
    kind: {"kind": kind, "scalars": 64, "vectors": 32, "heads": 8, "layers": 3}
    for kind in ("dense", "shared", "sparse")
}
ROUNDS = 5
#: Molecules of one batch, by atoms, for what padding costs; and how many there are of each.
MIXTURE, EACH = (19, 22, 23, 26, 28, 36), 10


def molflow(words: str, work: Path) -> None:
    """Type a command of molflow in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "molflow.cli", *shlex.split(words)], cwd=work, check=False
    )
    if done.returncode:
        raise SystemExit(f"molflow {words} ended with status {done.returncode}")


def name_of(residue: str) -> str:
    return f"systems/ace_{residue}_nme"


def make_data(residue: str, length: str, options, work: Path) -> dict:
    """Simulate one molecule, and return what its reference is worth.

    The bias is in phi, psi and, where there is a side chain that turns, in chi1.
    """
    if not (work / name_of(residue)).exists():
        molflow(
            f"init --sequence ACE-{residue.upper()}-NME --hydrogen-mass 3amu --timestep 2fs "
            f"--out {name_of(residue)}", work,
        )  # fmt: skip
    turns = "" if residue in NO_CHI1 else "--flatten chi1 "
    molflow(
        f"simulate {name_of(residue)} --time {length} --replicas 4 --flatten phi,psi {turns}"
        f"--building {options.building} --frame-interval 0.25ps --equilibration 20ps --jobs 1 "
        f"--platform Reference --quiet --out md/{residue}", work,
    )  # fmt: skip
    molflow(
        f"prepare md/{residue} --system {name_of(residue)} --train 0,1 --validation 2 "
        f"--out data/{residue}", work,
    )  # fmt: skip
    return read_json(work / f"md/{residue}/simulation.json")["flattened"]


def step_seconds(residue: str, words: tuple[str, ...], work: Path) -> float:
    """Return the processor seconds of a step of training on a molecule."""
    system = load_system(work / name_of(residue))
    steps, *_ = training_steps(system, work / f"data/{residue}", words)
    next(steps)
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        next(steps)
        times.append(time.process_time() - begun)
    return statistics.median(times)


def plan(residues: list[str], kind: str, sizes: str, minutes: float, work: Path) -> dict:
    """Return the words of a training that takes so many processor minutes, and its steps."""
    scalars, vectors, layers = sizes.split(",")
    words = (
        *WORDS, f"network.kind={kind}", f"network.scalars={scalars}", f"network.vectors={vectors}",
        f"network.layers={layers}", f"network.pair_width={vectors}", f"batch_size={BATCH}",
    )  # fmt: skip
    each = statistics.mean(step_seconds(residue, words, work) for residue in residues)
    steps = max(100, int(60.0 * minutes / each))
    words += (
        f"steps={steps}", f"learning_rate_decay={steps // 2}",
        f"objective.local_steps={steps // 5}",
        f"learning_rate_warmup={min(200, steps // 10)}", "ema_decay=0.99",
    )  # fmt: skip
    return {"words": list(words), "steps": steps, "step_seconds": each, "minutes": minutes}


def train(
    run: str, residues: list[str], kind: str, sizes: str, minutes: float, work: Path, start="",
    more: tuple[str, ...] = (),
) -> dict:  # fmt: skip
    """Train a map on some molecules; a finished or interrupted run goes on."""
    planned = once(work / f"{run}.plan.json", lambda: plan(residues, kind, sizes, minutes, work))
    names = " ".join(name_of(residue) for residue in residues)
    data = " ".join(f"--data data/{residue}" for residue in residues)
    start = f"--start {start}" if start else ""
    words = " ".join([*planned["words"], *more])
    molflow(f"train {names} {data} --out {run} --threads 1 --quiet {start} {words}", work)
    return planned


def scores(checkpoint: str, residue: str, n: int, work: Path, system: str = "") -> dict:
    """Return the scores of samples of a map, raw and refined, against dynamics held out."""
    found = {}
    for what, more in (("raw", ""), ("refined", f"--refine {REFINE}")):
        # Each molecule has a folder, as `topology.pdb` beside its conformations is its own.
        out = f"{checkpoint}-{residue}/{what}.dcd"
        molflow(
            f"sample {checkpoint} --steps {CALLS} -n {n} --out {out} --quiet --threads 1 {more} "
            + (f"--system {system}" if system else ""), work,
        )  # fmt: skip
        result = compare(work / out, work / f"md/{residue}")
        found[what] = {"n": n, **figures(result)}
        found.setdefault("molecule", read_json((work / out).with_suffix(".json")).get("molecule"))
    return found


def crossover() -> dict:
    """Return the processor time of forward and backward of a network, by atoms and kinds."""
    rows = {}
    for atoms, batch in ATOMS.items():
        graph = DIPEPTIDE if atoms == 22 else peptide(atoms)
        arguments, tasks = inputs(atoms, batch), {}
        for kind, sizes in NETWORKS.items():
            tasks[kind] = _step(network(sizes, graph), arguments)
        times = interleaved(tasks, ROUNDS)
        rows[str(atoms)] = {
            "batch": batch,
            "milliseconds_a_molecule": {
                kind: 1e3 * row["seconds"] / batch for kind, row in times.items()
            },
            "run_chooses": load_configuration((), network_words((64, 32, 3), atoms)).network.kind,
        }
        print(atoms, rows[str(atoms)], flush=True)
    return {"networks": NETWORKS, "atoms": rows, "batching": batching()}


def _step(net, arguments):
    torch.nn.init.normal_(net.last, std=0.1)

    def task() -> None:
        net.zero_grad(set_to_none=True)
        net(*arguments).square().sum().backward()

    return task


def batching() -> dict:
    """Return what a batch of different molecules costs, one after the other and padded."""
    alone = [_step(network(NETWORKS["dense"], peptide(n)), inputs(n, EACH)) for n in MIXTURE]
    widest = max(MIXTURE)
    padded = _step(
        network(NETWORKS["dense"], peptide(widest)), inputs(widest, EACH * len(MIXTURE))
    )
    times = interleaved({"alone": lambda: [task() for task in alone], "padded": padded}, ROUNDS)
    return {
        "atoms": list(MIXTURE), "of_each": EACH,
        "seconds": {name: row["seconds"] for name, row in times.items()},
    }  # fmt: skip


def unseen(residue: str, options, work: Path) -> dict:
    """Return the scores of a molecule that the shared map has not seen, and of MD of equal cost.

    MD gets as many processor seconds as drawing took by the clock, which is not less.
    """
    found = once(
        work / f"unseen-{residue}.json",
        lambda: scores("shared", residue, options.n, work, name_of(residue)),
    )
    seconds = read_json(work / f"shared-{residue}/raw.json")["seconds"]
    return found | {
        "dynamics_of_equal_cost": once(
            work / f"dynamics-{residue}.json", lambda: dynamics(residue, seconds, options.n, work)
        )
    }


def dynamics(residue: str, seconds: float, n: int, work: Path) -> dict:
    """Return the scores of MD from the structure that runs for so many processor seconds."""
    place = work / name_of(residue)
    frames, length = md_frames(str(place), seconds, n, 0)
    result = compare(Trajectory(frames, load_system(place).topology()), work / f"md/{residue}")
    return {"ps": length, "n": len(frames), **figures(result)}


def warm_start(residue: str, options, work: Path) -> dict:
    """Return scores after some minutes on the molecule alone, from the shared map and without."""
    found = {}
    for minutes in options.minutes[residue]:
        row, curves = {}, {}
        for name, kind, start in (("tuned", "shared", "shared"), ("scratch", "dense", "")):
            run = f"{name}-{residue}-{minutes:g}"
            planned = train(run, [residue], kind, options.network, minutes, work, start, CURVE)
            row[name] = planned | once(
                work / f"{run}.scores.json", lambda run=run: scores(run, residue, options.n, work)
            )
            curves[name] = row[name]["curve"] = curve(work / run, planned["step_seconds"])
        found[f"{minutes:g}"] = row | {"gain": gain(**curves)}
    return found


def curve(run: Path, step_seconds: float) -> list[tuple[float, float]]:
    """Return minutes of training and the mean JS distance of torsions to the validation run."""
    with open(run / "metrics.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(WATCHED)]
    return [(int(row["step"]) * step_seconds / 60.0, float(row[WATCHED])) for row in rows]


def gain(tuned: list[tuple[float, float]], scratch: list[tuple[float, float]]) -> dict:
    """Return how many times sooner a training with a start is as good as one without ever is.

    It is a lower bound where the first score with a start is as good already, and None where none
    is.
    """
    level = min(score for _, score in scratch)
    without = next(minutes for minutes, score in scratch if score <= level)
    reached = [minutes for minutes, score in tuned if score <= level]
    return {
        "torsion_js_distance": level, "minutes_from_scratch": without,
        "minutes_with_start": reached[0] if reached else None,
        "factor": without / reached[0] if reached else None,
        "lower_bound": bool(reached) and reached[0] == tuned[0][0],
    }  # fmt: skip


def cost_table(results: dict) -> str:
    """Return what sizes cost as Markdown."""
    rows = results["summary"]["crossover"]["atoms"]
    heads = ["atoms", *(f"{kind}, ms a molecule" for kind in NETWORKS), "`run` chooses"]
    return markdown(heads, [
        [
            atoms,
            *(f"{row['milliseconds_a_molecule'][kind]:.2f}" for kind in NETWORKS),
            row["run_chooses"],
        ]
        for atoms, row in rows.items()
    ])  # fmt: skip


def score_table(results: dict) -> str:
    """Return scores of the held-out molecules, before and after training on them, as Markdown."""
    summary, rows = results["summary"], []
    for residue, found in summary["unseen"].items():
        shared = summary["training"]
        rows.append(_row(residue, "shared, never seen", shared["steps"], found))
        for trained in summary.get("warm_start", {}).get(residue, {}).values():
            for name, said in (("tuned", "shared, then tuned"), ("scratch", "dense from scratch")):
                row = trained[name]
                rows.append(_row(residue, f"{said}, {row['minutes']:g} min", row["steps"], row))
        beside = found["dynamics_of_equal_cost"]
        said = f"MD of equal cost, {beside['ps']:.0f} ps"
        rows.append(_row(residue, said, 0, {"raw": beside}))
    heads = ["molecule", "map", "steps", "valid, raw / refined", "wrong hands",
             "`fes_rmse` / kT (floor)", "refined", "torsions, JS distance (floor)", "refined",
             "energy W2 / kT (floor)", "refined"]  # fmt: skip
    return markdown(heads, rows)


def _row(residue: str, said: str, steps: int, found: dict) -> list[str]:
    raw, refined = found["raw"], found.get("refined")

    def score(row: dict | None, name: str) -> str:
        entry = None if row is None else row.get(name)
        if entry is None or entry["value"] is None:
            return "–"
        return f"{entry['value']:.3g} ({entry['floor']:.2g})"

    def both(name: str, form: str) -> str:
        values = [row[name] for row in (raw, refined) if row is not None]
        return " / ".join("–" if value is None else format(value, form) for value in values)

    return [
        f"ACE-{residue.upper()}-NME", said, f"{steps:,}" if steps else "–",
        both("valid", ".1%"), both("wrong_hand", ","),
        score(raw, "fes_rmse"), score(refined, "fes_rmse"), score(raw, "torsion_js_distance"),
        score(refined, "torsion_js_distance"), score(raw, "energy_w2"),
        score(refined, "energy_w2"),
    ]  # fmt: skip


def main() -> None:
    parser = command_line(__doc__, work=None)
    parser.add_argument("--residues", default="gly,ala,thr", help="that are trained on")
    parser.add_argument("--held-out", default="ser", help="that are not")
    parser.add_argument("--time", default="600ps", help="of each of four replicas")
    parser.add_argument("--held-out-time", default="1500ps", help="the same of those held out")
    parser.add_argument("--building", default="900ps", help="of the bias")
    parser.add_argument("--network", default="64,32,3", help="scalars, vectors, layers of all")
    parser.add_argument("--shared-minutes", type=float, default=9.0, help="of the shared map")
    parser.add_argument(
        "--minutes", default="ser=2,ser=4", help="of training on held-out ones, RESIDUE=MINUTES"
    )
    parser.add_argument("--n", type=int, default=1000, help="samples")
    parser.add_argument(
        "--parts", default="unseen,warm_start",
        help="or crossover, tripeptide, tetrapeptide, chignolin",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="on which chignolin is drawn")
    options = parser.parse_args()
    pairs = [word.split("=") for word in options.minutes.split(",")]
    options.minutes = {name: [float(m) for own, m in pairs if own == name] for name, _ in pairs}
    torch.set_num_threads(1)
    work, parts = options.work.resolve(), options.parts.split(",")
    work.mkdir(parents=True, exist_ok=True)
    file = options.out / "many.json"
    if "crossover" in parts:
        add_part(file, "crossover", crossover())
    for part in (name for name in PEPTIDES if name in parts):
        found, weights = peptide_scores(part, work, options.out, options.n)
        results = add_part(file, part, found, weights)
        print(reference_table(results, part), peptide_table(results, part), sep="\n\n")
    if CHIGNOLIN in parts:
        place = work / CHIGNOLIN
        found, weights = chignolin_scores(place, options.out, options.n, options.device)
        print(chignolin_table(add_part(file, CHIGNOLIN, found, weights)))
    if not {"unseen", "warm_start"} & set(parts):
        return
    residues, held_out = options.residues.split(","), options.held_out.split(",")
    worth = {
        residue: once(
            work / f"data-{residue}.json",
            lambda residue=residue, length=length: make_data(residue, length, options, work),
        )
        for group, length in ((residues, options.time), (held_out, options.held_out_time))
        for residue in group
    }
    if (work / "shared.gpu.json").exists():  # of `gpu/train_many.py`, with its run as `shared`
        planned = read_json(work / "shared.gpu.json")["summary"]
    else:
        planned = train("shared", residues, "shared", options.network, options.shared_minutes, work)
    if "unseen" in parts:
        told = read_json(work / "shared/checkpoint/model.json")
        found = {residue: unseen(residue, options, work) for residue in held_out}
        add_part(file, "unseen", found, told["weights_sha256"])
        add_part(file, "training", planned | {"residues": residues, "data": worth})
    if "warm_start" in parts:
        add_part(file, "warm_start", {r: warm_start(r, options, work) for r in options.minutes})


if __name__ == "__main__":
    main()
