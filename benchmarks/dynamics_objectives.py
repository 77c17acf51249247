"""What maps of dynamics learn from: the objectives side by side on one molecule.

    python benchmarks/dynamics_objectives.py --data data-paths --work WORK

A network of the same size, the same frames and the same number of steps of 64 molecules each. A map
that knows bonded forces learns by the semigroup, with and without rollouts of its own; one that
does not, by the semigroup, by MeanFlow, and by the ends of paths under the true force, where the
semigroup ends at 5 fs. Force matching and short steps tied to the force have the same share in all
of them. Each is asked for the velocities at the end of one step on validation paths that no
objective has seen, and for 64 rollouts.
The training set, with paths at the friction of the map, is made by

    molflow prepare md --out data-paths --forces --hot 600K --paths 2000 --frictions 1/ps,1/ps

Finished runs stay in WORK. Writes ``benchmarks/results/dynamics_objectives.json``.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from pathlib import Path

from record import command_line, markdown, once, write_results

import molflow
from molflow.data.dataset import load_training_data
from molflow.data.paths import load_paths
from molflow.errors import MolflowError
from molflow.training.configuration import load_configuration
from molflow.training.module import NoNumberError

CONFIG = Path(__file__).parents[1] / "systems/alanine_dipeptide/training-dynamics.yaml"
#: A map that has to learn the bonded forces too is tied to the force at shorter steps.
PLAIN = ["map.bonded=false", "objective.anchor=[0.0002, 0.0006]"]
#: What is changed in `CONFIG`. MeanFlow takes derivatives that a compiled network does not have.
OBJECTIVES = {
    "bonded forces known, semigroup": [],
    "bonded forces known, no own rollouts": ["objective.rollout_share=0"],
    "semigroup": PLAIN,
    "MeanFlow": [*PLAIN, "objective.mean_flow_share=1", "objective.rollout_share=0"],
    "ends of paths": [*PLAIN, "objective.direct_share=0.5"],
}
#: ps, of the steps that are scored, and how many a rollout has.
LAGS, ROLLOUT = (0.005, 0.01, 0.02, 0.04), 100
EPOCH = 100


def trained(name: str, options: argparse.Namespace) -> dict:
    """Train with one objective and return what validation says at the end."""
    out, steps = options.work / named(name, options), options.steps
    words = [
        *OBJECTIVES[name], f"steps={steps}", f"steps_per_epoch={EPOCH}",
        f"validate_every={-(-steps // EPOCH)}", f"objective.local_steps={steps // 3}",
        f"learning_rate_decay={steps // 3}", f"objective.validation_lags={list(LAGS)}",
        f"objective.validation_steps={ROLLOUT}", f"seed={options.seed}",
    ]  # fmt: skip
    said, compiled = None, options.compile and "mean_flow_share" not in "".join(words)
    try:
        molflow.train(
            "alanine_dipeptide", options.data, out, CONFIG, words, compiled=compiled, progress=False
        )
    except NoNumberError as error:
        said = str(error)
    with (out / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Neither those of compilation nor those of validation.
    usual = [float(row["seconds"]) for row in rows if steps // 3 + EPOCH < int(row["step"]) < steps]
    return {
        "said": said,
        "changed": OBJECTIVES[name],
        "steps": int(rows[-1]["step"]),
        "seconds_a_step": statistics.median(usual) / EPOCH if usual else None,
        "compiled": compiled,
        "scores": {
            key.removeprefix("val/"): float(value)
            for key, value in rows[-1].items()
            if key.startswith("val/") and value and math.isfinite(float(value))
        },
    }


def named(name: str, options: argparse.Namespace) -> str:
    """Return the name of the files of an objective."""
    return f"{name.replace(',', '').replace(' ', '-')}-{options.steps}-seed-{options.seed}"


def check_paths(data: Path) -> None:
    """Raise `MolflowError` unless there are validation paths of the order of the map."""
    paths = load_paths(load_training_data(data))
    paths.check_use(load_configuration([CONFIG]).map.order)
    if not paths.validation:
        raise MolflowError(f"'{data}' has no validation paths: prepare it with --validation.")


def table(results: dict) -> str:
    """Return the scores by objective, as Markdown."""
    heads = [
        "objective", "s a step", "force", *(f"{1e3 * lag:g} fs" for lag in LAGS),
        "temperature / bath", "whole",
    ]  # fmt: skip
    lines = []
    for name, row in results["objectives"].items():
        scores, cells = row["scores"], [f"ended after step {row['steps']}", *["–"] * 7]
        if row["said"] is None:
            kinds = [("force", "{:.1%}"), *((f"path@{1e3 * lag:g}fs", "{:.2g}") for lag in LAGS),
                     ("temperature@20fs", "{:.2f}"), ("intact@20fs", "{:.0%}")]  # fmt: skip
            found = {"seconds_a_step": row["seconds_a_step"]} | scores
            kinds.insert(0, ("seconds_a_step", "{:.2f}" if row["compiled"] else "{:.2f} *"))
            cells = [
                "–" if found.get(kind) is None else form.format(found[kind]) for kind, form in kinds
            ]
        lines.append([name, *cells])
    return markdown(heads, lines)


def main() -> None:
    """Train all of them, or those that are missing."""
    parser = command_line(__doc__, work=None, seed=0)
    parser.add_argument("--data", type=Path, required=True, help="with forces and paths")
    parser.add_argument("--steps", type=int, default=1000, help="of training, each")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    check_paths(options.data)
    rows = {
        name: once(
            options.work / f"{named(name, options)}.json", lambda name=name: trained(name, options)
        )
        for name in OBJECTIVES
    }
    results = {
        "summary": {
            name: {key: row["scores"].get(key) for key in ("force", "path@20fs")}
            for name, row in rows.items()
        },
        "objectives": rows,
        "steps": options.steps,
        "seed": options.seed,
    }
    write_results(options.out / "dynamics_objectives.json", results)
    print(table(results))


if __name__ == "__main__":
    main()
