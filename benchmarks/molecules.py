"""From ten molecules as people bring them to a report, by the command line, and what sizes cost.

    python benchmarks/molecules.py --work WORK

Each way is three commands at most, run as a user would; every finished way, and the table of
costs, stay in WORK. Writes ``benchmarks/results/molecules.json``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openmm
import torch
from measuring import interleaved, peak_memory
from openmm import app, unit
from record import command_line, environment, once

from molflow.budget import NETWORKS, choose_network, network_words, parse_budget
from molflow.files import read_json, write_json
from molflow.maps.denoiser.draw import draw
from molflow.nn.registry import network_configuration
from molflow.systems import load_system
from molflow.training.cost import training_steps

ROOT = Path(__file__).parents[1]
INPUTS, SYSTEMS = ROOT / "tests" / "data" / "molecules", ROOT / "systems"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
#: What is typed, without `molflow`; {budget} is that of the run.
RUN = "run {name} --budget {budget} --out {name}-result --quiet"
WAYS = {
    "alanine tripeptide PDB": (f"init {INPUTS}/alanine_tripeptide.pdb --out tri", "tri"),
    "sequence ACE-TRP-NME": ("init --sequence ACE-TRP-NME --out trp", "trp"),
    "aspirin SMILES": (f'init --smiles "{ASPIRIN}" --out smiles', "smiles"),
    "aspirin System XML": (
        f"init --system-xml {INPUTS}/aspirin_system.xml --structure {INPUTS}/aspirin.pdb --out xml",
        "xml",
    ),
    "leucine dipeptide prmtop": (
        f"init --prmtop {INPUTS}/leucine_dipeptide.prmtop "
        f"--inpcrd {INPUTS}/leucine_dipeptide.inpcrd --out leucine",
        "leucine",
    ),
    "alanine dipeptide PSF": (
        f"init --psf {INPUTS}/alanine_charmm.psf --parameters {INPUTS}/alanine_charmm.prm "
        f"--structure {INPUTS}/alanine_charmm.pdb --out psf",
        "psf",
    ),
    "box of water, PME, HBonds, 4 fs": (
        f"init {SYSTEMS}/alanine_dipeptide_water/structure.pdb --out box", "box"
    ),
    "aspirin GFN2-xTB": (f"init {INPUTS}/aspirin.pdb --potential gfn2-xtb --out xtb", "xtb"),
    "chignolin": (f"init {SYSTEMS}/chignolin/structure.pdb --out folding", "folding"),
}  # fmt: skip
FOREIGN = "pair of DCD files made elsewhere"
FOREIGN_COMMANDS = (
    f"init {SYSTEMS}/alanine_dipeptide/structure.pdb --forcefield amber99sbildn --out own",
    "prepare a.dcd b.dcd --top theirs.pdb --system own --temperature 300K --frame-interval 0.1ps "
    "--out own-data",
    "run own --data own-data --budget {budget} --out own-result --quiet",
)
#: Budgets of what is dear, in units of that of the others.
DEAR = {"aspirin GFN2-xTB": 2, "chignolin": 2}
#: Of the foreign trajectories: frames of each, steps of 1 fs between them.
FRAMES, STEPS = 1500, 100
#: Molecules of the table of costs, and the way whose training set is used.
COSTS = {
    22: ("own", "own-data"), 32: ("tri", "tri-result/data"),
    138: ("folding", "folding-result/data"),
}  # fmt: skip
#: Network calls of the samples that are timed, conformations, and the budget of the choice, s.
CALLS, DRAWN, HOUR = 4, 256, 0.55 * 3600.0


def commands_of(name: str, budget: str) -> list[str]:
    """Return what is typed for one way, without `molflow`."""
    if name == FOREIGN:
        return [text.format(budget=budget) for text in FOREIGN_COMMANDS]
    first, folder = WAYS[name]
    return [first, RUN.format(name=folder, budget=budget)]


def way(name: str, budget: str, work: Path) -> dict:
    """Type the commands of one way, and return what they said and took."""
    budget = f"{DEAR.get(name, 1) * parse_budget(budget):g}s"
    if name == FOREIGN and not (work / "theirs.pdb").exists():
        make_foreign(work)
    commands, times, said = commands_of(name, budget), [], []
    folder = Path(commands[-1].split("--out ")[1].split()[0])
    for command in commands:
        words = shlex.split(command)
        target = work / words[words.index("--out") + 1]
        if words[0] != "run" and target.exists():
            shutil.rmtree(target)
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "molflow.cli", *words], cwd=work, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        times.append(round(time.monotonic() - start, 1))
        said.append(done.stdout.strip().splitlines())
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout}\n{done.stderr}")
    found = read_json(work / folder / "run.json")
    assert (work / folder / "report.html").stat().st_size > 10_000
    verdict = found["verdict"]
    return {
        "commands": [f"molflow {shown(command)}" for command in commands],
        "verdict": verdict["level"],
        "headline": verdict["headline"],
        "seconds": round(sum(times), 1),
        "seconds_of_commands": times,
        "budget_seconds": parse_budget(budget),
        "seconds_of_stages": found["seconds"],
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "account": found["account"],
        "advice": found["advice"],
    }


def shown(command: str) -> str:
    """Return a command with paths as from the root of the repository."""
    return command.replace(f"{ROOT}/", "")


def make_foreign(work: Path) -> None:
    """Write two trajectories as another program would: plain OpenMM, atoms in another order."""
    pdb = app.PDBFile(str(SYSTEMS / "alanine_dipeptide" / "structure.pdb"))
    model, old = app.Topology(), list(pdb.topology.atoms())
    order, chain = [], model.addChain()
    placed = {}
    for residue in pdb.topology.residues():
        new = model.addResidue(residue.name, chain)
        for atom in sorted(residue.atoms(), key=lambda atom: atom.name, reverse=True):
            placed[atom.index] = model.addAtom(atom.name, atom.element, new)
            order.append(atom.index)
    for bond in pdb.topology.bonds():
        model.addBond(placed[bond[0].index], placed[bond[1].index])
    assert order != list(range(len(old)))
    start = np.array(pdb.getPositions(asNumpy=True)._value)[order]
    system = app.ForceField("amber99sbildn.xml", "amber99_obc.xml").createSystem(model)
    for seed, name in ((1, "a"), (2, "b")):
        integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.001)
        integrator.setRandomNumberSeed(seed)
        platform = openmm.Platform.getPlatformByName("Reference")
        simulation = app.Simulation(model, system, integrator, platform)
        simulation.context.setPositions(start)
        simulation.minimizeEnergy()
        simulation.context.setVelocitiesToTemperature(300, seed)
        simulation.step(20_000)
        simulation.reporters.append(app.DCDReporter(str(work / f"{name}.dcd"), STEPS))
        simulation.step(FRAMES * STEPS)
    with open(work / "theirs.pdb", "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(model, start * unit.nanometer, file)


def cost(atoms: int, work: Path) -> dict:
    """Return what networks cost for a molecule, and the one that an hour would be given."""
    folder, data = COSTS[atoms]
    system, rows = load_system(work / folder), {}
    assert system.topology().n_atoms == atoms
    for network in NETWORKS:
        words = network_words(network, atoms)
        steps, settings, flow_map = training_steps(system, work / data, words)
        memory = peak_memory(lambda steps=steps: next(steps))
        timed = interleaved({"step": lambda steps=steps: next(steps)}, 5)["step"]
        begun = time.process_time()
        draw(flow_map.eval(), DRAWN, CALLS, 0, atoms)
        each = (time.process_time() - begun) / DRAWN
        rows["{} scalars, {} vectors, {} layers".format(*network)] = {
            "words": list(words),
            "parameters": sum(value.numel() for value in flow_map.parameters()),
            "batch_size": settings.batch_size,
            "step_seconds": timed["seconds"],
            "step_milliseconds_a_molecule": 1e3 * timed["seconds"] / settings.batch_size,
            "step_peak_megabytes": None if memory is None else memory / 2**20,
            "sampling_milliseconds": 1e3 * each,
        }
    by_words = {tuple(row["words"]): row["step_seconds"] for row in rows.values()}
    chosen = choose_network(HOUR, atoms, lambda words: by_words[tuple(words)])
    name = next(name for name, row in rows.items() if row["words"] == chosen["words"])
    kind = network_configuration({}).kind
    return {"networks": rows, "kind": kind, "chosen": name, "why": chosen["why"]}


def table(summary: dict) -> str:
    """Return both tables as Markdown."""
    lines = ["| what is brought | commands | seconds | of the budget | verdict |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, row in summary["tried"].items():
        share = row["seconds_of_commands"][-1] / row["budget_seconds"]
        lines.append(
            f"| {name} | {len(row['commands'])} | {row['seconds']:.0f} | {share:.0%} | "
            f"{row['verdict']} |"
        )
    lines += ["", "| atoms | network | parameters | a training step, ms a molecule | its peak "
              "memory, MB | sampling at 4 calls, ms |", "|---|---|---|---|---|---|"]  # fmt: skip
    for atoms, found in summary["cost"].items():
        for name, row in found["networks"].items():
            mark = " *" if name == found["chosen"] else ""
            step, memory = row["step_milliseconds_a_molecule"], row["step_peak_megabytes"] or 0
            lines.append(
                f"| {atoms} | {name}{mark} | {row['parameters']:,} | {step:.2f} | {memory:.0f} | "
                f"{row['sampling_milliseconds']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = command_line(__doc__, work=None)
    parser.add_argument("--budget", default="3min", help="of every run, several of dear ones")
    parser.add_argument("--only", help="ways by name, separated by semicolons; no costs then")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    names = options.only.split(";") if options.only else [*WAYS, FOREIGN]
    tried = {}
    for number, name in enumerate(names):
        stem = "".join(letter if letter.isalnum() else "-" for letter in name)
        try:
            tried[name] = once(
                work / f"tried-{stem}.json", lambda name=name: way(name, options.budget, work)
            )
        except RuntimeError as error:
            print(f"{number + 1} {name} failed: {error}", flush=True)
            continue
        told = f"{tried[name]['seconds']} s, {tried[name]['headline']}"
        print(f"{number + 1} {name}: {told}", flush=True)
    if options.only:
        return
    if len(tried) < len(names):
        raise SystemExit("Not all ways came to a report: see above, and run the same again.")
    costs = {
        str(atoms): once(work / f"cost-{atoms}.json", lambda atoms=atoms: cost(atoms, work))
        for atoms in COSTS
    }
    over = [row["seconds_of_commands"][-1] - row["budget_seconds"] for row in tried.values()]
    summary = {
        "tried": tried,
        "cost": costs,
        "most_commands": max(len(row["commands"]) for row in tried.values()),
        "longest_seconds": max(row["seconds"] for row in tried.values()),
        "over_budget_seconds": {"median": statistics.median(over), "most": max(over)},
    }
    write_json(
        options.out / "molecules.json",
        {"summary": summary, **environment(openmm=openmm.__version__, tblite=version("tblite"))},
    )
    print(table(summary))


if __name__ == "__main__":
    main()
