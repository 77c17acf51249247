"""Quality of the shipped alanine dipeptide ensemble against network evaluations.

    python benchmarks/few_steps.py

Runs ``molflow study`` on the shipped checkpoint: conformations at 1, 2, 4, 8 and 16 evaluations
with three path seeds each, scored against the held-out runs of reference MD, and how far samples
of the same path are from those of 64 evaluations. Writes ``benchmarks/results/few_steps.json``
(with machine, versions, seeds and sizes) and the picture of the README. What is done is kept in
``outputs/few_steps``, so that it can be interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mdtraj
import openmm
from matplotlib.figure import Figure
from record import environment

from molflow.analysis.plots import ramachandran
from molflow.analysis.torsions import phi_psi
from molflow.comparison import find_reference
from molflow.files import replacing, write_json
from molflow.sampling.ensemble import sample
from molflow.step_study.study import study
from molflow.step_study.summary import table as study_table

HERE = Path(__file__).parent
SYSTEM = "alanine_dipeptide"


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
    return study_table(results["summary"]["all_atom"], results["n"] * len(results["path_seeds"]))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, default=3, help="number of path seeds")
    parser.add_argument("-n", type=int, default=10000)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--parts", type=Path, default=HERE.parent / "outputs" / "few_steps")
    options = parser.parse_args()
    found = study(SYSTEM, options.parts, options.steps, options.n, options.seeds)
    summary = found["summary"]
    write_json(
        options.out / "few_steps.json",
        {
            "summary": {"all_atom": summary.pop("quality"), **summary},
            **{key: found[key] for key in ("per_seed", "n", "path_seeds", "checkpoint")},
            **environment(openmm=openmm.__version__, mdtraj=mdtraj.__version__),
        },
    )
    pictures(options.out, 4, options.n)


if __name__ == "__main__":
    main()
