"""What a fitted valence formula leaves of the forces of a force field and of quantum chemistry.

    python benchmarks/valence.py --work WORK

Classical dynamics at 300 K (tempering) and 600 K of alanine dipeptide and of aspirin; the forces on
its frames under the force field and under GFN2-xTB in ALPB water; formulas of growing order fitted
to the first replicas and scored on the second; Langevin dynamics of the whole formula alone at
900 K; milliseconds a force. Every finished part stays in WORK. Writes
``benchmarks/results/valence.json``.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import yaml
from record import command_line, environment, once

import molflow
from molflow.brownian.path import BrownianPath
from molflow.data.dataset import ForceData, load_forces, load_training_data
from molflow.files import write_json
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.md.energies import evaluate
from molflow.md.label import label
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.solvers.loop import trajectory, uniform_times
from molflow.systems import MolecularSystem, load_system
from molflow.valence.design import Design, measured
from molflow.valence.fit import fit_valence, formula_of, normal_equations, ridge
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula
from molflow.valence.terms import valence_terms

MOLECULES = "alanine_dipeptide", "aspirin"
POTENTIAL = {"name": "gfn2-xtb", "solvent": "water"}
#: Time of a replica, frame interval and ladder; of the hot one without a ladder.
WARM = {"time": "500ps", "frame_interval": "0.5ps", "tempering": "300K:600K:3"}
HOT = {"time": "100ps", "frame_interval": "0.25ps"}
STABLE = {"temperature": 900.0, "friction": 10.0, "chains": 32, "time": 8.0, "step": 1.0 / 2048}


def variant(base: MolecularSystem, folder: Path, **changes) -> MolecularSystem:
    """Return a system with other settings, in a folder of its own."""
    if not folder.exists():
        shutil.copytree(
            base.folder, folder, ignore=shutil.ignore_patterns("checkpoint*", "reference*")
        )
        text = yaml.safe_load((folder / "system.yaml").read_text(encoding="utf-8")) | changes
        (folder / "system.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    return load_system(folder)


def training_sets(base: MolecularSystem, work: Path, seed: int) -> tuple[dict, dict]:
    """Return forces at 300 and 600 K by energy function, and the processor time of each."""
    systems = {
        "300": base,
        "600": variant(base, work / "hot", temperature=600.0),
    }
    plain = {"forcefield": [], "system_xml": None, "potential": POTENTIAL}
    sets, seconds = {"force field": {}, "gfn2-xtb": {}}, {}

    def timed(name: str, make) -> None:
        def run() -> dict:
            start = time.process_time()
            make()
            return {"seconds": round(time.process_time() - start, 1)}

        seconds[name] = once(work / f"seconds-{name}.json", run)["seconds"]

    for kelvin, system in systems.items():
        md, data = work / f"md-{kelvin}", work / f"data-{kelvin}"
        settings = WARM if kelvin == "300" else HOT
        molflow.simulate(system, replicas=2, out=md, seed=seed, equilibration="20ps", jobs=1,
                         progress=False, **settings)  # fmt: skip
        molflow.prepare(md, data, train=[0], validation=[1])
        quantum = variant(system, work / f"quantum-{kelvin}", **plain)
        for name, of in (("force field", system), ("gfn2-xtb", quantum)):
            out = work / f"{name.replace(' ', '-')}-{kelvin}"
            timed(
                f"{name} forces at {kelvin} K",
                lambda of=of, out=out, data=data: label(data, of, out, jobs=1, progress=False),
            )
            sets[name][kelvin] = load_forces(load_training_data(out))
    return sets, seconds


def rms(array) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(array, np.float64)))))


def fitted(topology, sets: dict[str, ForceData], own) -> tuple[dict, ValenceFormula]:
    """Return what formulas leave of held-out forces, and the whole formula."""
    numbers = [atom.element.atomic_number for atom in topology.atoms]
    bonds = [(a.index, b.index) for a, b in topology.bonds]
    x, f = (np.concatenate([one.train[k] for one in sets.values()]) for k in (0, 1))
    x, f = x.astype(np.float64), f.astype(np.float64)
    start = time.process_time()
    whole = fit_valence(numbers, bonds, x, f)
    seconds = time.process_time() - start
    tensors = torch.from_numpy(x), torch.from_numpy(f)
    terms = valence_terms(numbers, bonds, x)
    design = Design(terms, measured(terms, tensors[0]))
    gram, right = normal_equations(design, *tensors)
    harmonic = torch.cat([
        design.diagonal[:, :2].flatten(), design.straight.flatten(),
        design.torsions[:, :3].flatten(),
    ])  # fmt: skip
    columns = {
        "harmonic": harmonic,
        "quadratic with couplings": torch.cat([harmonic, design.pairs]),
        "fourth order, free": torch.arange(design.size),
    }
    formulas = {"own bonded terms": own} if own else {}
    for name, kept in columns.items():
        found = torch.zeros(design.size, dtype=torch.float64)
        part = gram[kept][:, kept]
        found[kept] = torch.linalg.solve(part + ridge(part), right[kept])
        formulas[name] = ValenceForce(formula_of(found, design), len(numbers))
    formulas["fourth order, convex"] = ValenceForce(whole.formula, len(numbers))
    result = {
        "frames": {kelvin: len(one.validation[0]) for kelvin, one in sets.items()},
        "trained_on": len(x),
        "force": {kelvin: rms(one.validation[1]) for kelvin, one in sets.items()},
        "rest": {
            name: {
                kelvin: rms(one.validation[1] - force(torch.from_numpy(
                    one.validation[0].astype(np.float64))).numpy())
                for kelvin, one in sets.items()
            }
            for name, force in formulas.items()
        },
        "coefficients": whole.coefficients,
        "least_curvature": whole.curvature,
        "fit_seconds": round(seconds, 2),
    }  # fmt: skip
    return result, whole.formula


def stable(formula: ValenceFormula, masses: np.ndarray, starts: np.ndarray, seed: int) -> dict:
    """Return how bonds fare in dynamics of the formula alone at a high temperature."""
    masses, x = torch.from_numpy(masses).double(), torch.from_numpy(starts).double()
    force = ValenceForce(formula, len(masses))
    sde = UnderdampedLangevin(force, masses, STABLE["friction"], STABLE["temperature"])
    path = BrownianPath(sde.basis(1), 0.0, STABLE["time"], tuple(x.shape), seed, dtype=x.dtype)
    times = uniform_times(path, round(STABLE["time"] / STABLE["step"]))
    pairs = torch.tensor([row[:2] for row in formula.bonds])
    middle = torch.tensor([row[2] for row in formula.bonds], dtype=torch.float64)
    longest, shortest, kinetic = 0.0, 9.0, []
    start = torch.stack([x, torch.zeros_like(x)], dim=1)
    for k, state in enumerate(trajectory(partial(baoab_step, sde), start, path, times)):
        if k % 20 == 0 and k > len(times) // 4:
            ratio = (state[:, 0, pairs[:, 0]] - state[:, 0, pairs[:, 1]]).norm(dim=-1) / middle
            longest, shortest = max(longest, float(ratio.max())), min(shortest, float(ratio.min()))
            kinetic.append(float((masses[:, None] * state[:, 1].square()).mean()))
    temperature = np.mean(kinetic) / 8.31446261815324e-3
    return {**STABLE, "longest_bond": longest, "shortest_bond": shortest,
            "broken_bonds": int(longest > 1.5), "kinetic_temperature": temperature}  # fmt: skip


def cost(formula: ValenceFormula, own, system: MolecularSystem, frames: np.ndarray) -> dict:
    """Return milliseconds a force and a molecule on one thread: 256 at once, and one."""

    def clock(function, repeats: int, size: int) -> float:
        function()
        start = time.process_time()
        for _ in range(repeats):
            function()
        return 1e3 * (time.process_time() - start) / repeats / size

    x = torch.from_numpy(np.resize(frames, (256, *frames.shape[1:]))).float()
    force = ValenceForce(formula, frames.shape[1]).float()
    result = {
        "formula, 256 at once": clock(lambda: force(x), 10, 256),
        "formula, one": clock(lambda: force(x[:1]), 100, 1),
        "gfn2-xtb": clock(lambda: evaluate(system, frames[:40], jobs=1), 1, 40),
    }
    if own:
        result["own bonded terms, 256 at once"] = clock(lambda: own.float()(x), 10, 256)
        own.double()
    return result


def molecule(name: str, base: MolecularSystem, work: Path, seed: int) -> dict:
    """Return the results of one molecule."""
    sets, seconds = training_sets(base, work, seed)
    masses = sets["force field"]["300"].masses
    own = BondedForce(sets["force field"]["300"].bonded, len(masses)).double()
    result = {"atoms": len(masses)}
    quantum = load_system(work / "quantum-300")
    for energy, by_temperature in sets.items():
        bonded = own if energy == "force field" else None

        def run(by_temperature=by_temperature, bonded=bonded) -> dict:
            found, formula = fitted(base.topology(), by_temperature, bonded)
            starts = by_temperature["600"].validation[0][:: 400 // STABLE["chains"]]
            starts = starts[: STABLE["chains"]].astype(np.float64)
            start = time.process_time()
            found["stable"] = stable(formula, masses, starts, seed)
            found["stable"]["seconds"] = round(time.process_time() - start, 1)
            frames = by_temperature["300"].validation[0].astype(np.float64)
            found["milliseconds_a_force"] = cost(formula, own, quantum, frames)
            return found

        result[energy] = once(work / f"result-{energy.replace(' ', '-')}.json", run)
        print(name, energy, result[energy]["rest"], flush=True)
    return result | {"seconds": seconds}


def table(results: dict) -> str:
    """Return what formulas leave of forces, as a table."""
    lines = ["| forces | formula | rest at 300 K | at 600 K |", "|---|---|---|---|"]
    for name, molecule in results["summary"].items():
        for energy in ("force field", "gfn2-xtb"):
            part = molecule[energy]
            label = f"{name.replace('_', ' ')}, {energy}"
            sizes = (f"{part['force'][kelvin]:.0f}" for kelvin in ("300", "600"))
            lines.append(f"| {label} | none | {' | '.join(sizes)} |")
            for formula, rest in part["rest"].items():
                lines.append(f"| | {formula} | {rest['300']:.0f} | {rest['600']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = command_line(__doc__, seed=0, work=None)
    parser.add_argument("--molecules", default=",".join(MOLECULES), help="built-in, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    summary = {}
    for name in options.molecules.split(","):
        work = options.work / name
        work.mkdir(parents=True, exist_ok=True)
        summary[name] = molecule(name, load_system(name), work, options.seed)
    record = environment(tblite=version("tblite"), openmm=version("openmm"))
    record["machine"]["precision"] = "float64"
    result = {"summary": summary, "seed": options.seed, **record}
    write_json(options.out / "valence.json", result)
    print(table(result))


if __name__ == "__main__":
    main()
