"""What is left when commands are killed: the same files as if nothing had happened?

    python benchmarks/faults.py --work WORK

Every verb that writes is run at a small size without interruption, twice, and then again and again
in fresh folders where it is killed by SIGKILL: at a random moment, twice in a row, one of its
workers alone, or about one of the last files that it writes. The same command is then given once
more, and the files have to be those of the unbroken runs, bit for bit but for times and speeds
(`killing.VOLATILE`). Nothing may be left over, and no worker may outlive its parent. A trial whose
kill came too late, after the end of the command, does not count and is made again. Commands run in
forked processes, workers too, so that a trial takes seconds. Writes ``results/faults.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from killing import Ended, Killer, contents, preload, run
from record import command_line, environment

from molflow.files import read_json, write_json

MOLECULE = "alanine_dipeptide"
NETWORK = [
    "network.scalars=8", "network.vectors=4", "network.heads=2", "network.layers=1",
    "network.pair_width=4",
]  # fmt: skip
TRAINING = [
    *NETWORK, "map.order=2", "steps=12", "steps_per_epoch=3", "batch_size=6",
    "objective.local_steps=2", "validate_every=2", "validation_samples=64",
    "validation_nfe=[1,2]", "learning_rate_warmup=2", "learning_rate_decay=3",
]  # fmt: skip
MD = [
    "simulate", MOLECULE, "--frame-interval", "0.02ps", "--equilibration", "0.4ps",
    "--platform", "Reference", "--seed", "3", "-q",
]  # fmt: skip
#: Ways to die, and by how many kills: at a moment, twice, a worker, before or after a late file.
WAYS = {"moment": 1, "twice": 2, "worker": 1, "files": 1}
#: How often a trial is begun anew because a kill came too late.
ATTEMPTS = 8


@dataclass(frozen=True)
class Scenario:
    """A command whose files all go below ``out``.

    Attributes
    ----------
    name : str
    words : list of str
        ``{made}`` stands for the folder of inputs.
    kills : int
        How many trials.
    workers : bool
        Whether it has workers that can be killed.
    needs : tuple of str
        Scenarios whose unbroken files are its inputs.
    once : bool
        Whether it refuses to write where all is written already.
    status : int
        Of the unbroken run.
    begun : dict
        Files that are there before, by name.
    clocked : bool
        Whether it ends by the clock, so that which files there are is compared, not their contents.
    """

    name: str
    words: list[str]
    kills: int
    workers: bool = False
    needs: tuple[str, ...] = ()
    once: bool = False
    status: int = 0
    begun: dict[str, dict] = field(default_factory=dict)
    clocked: bool = False


#: What `molflow run` is begun with: a folder whose budget was divided into seconds.
_PLAN = {
    "system": MOLECULE, "ensemble_hash": None, "budget": 60.0,
    "plan": {
        "time": 2.0, "frame_interval": 0.02, "equilibration": 0.2,
        "network": [*NETWORK, "batch_size=16"], "training_seconds": 1.0,
    },
}  # fmt: skip
_SHIPPED = ["--path-seed", "5", "-q"]
_ENSEMBLE = "{made}/sample/out/e.dcd"
SCENARIOS = [
    Scenario("init", ["init", "{pdb}", "--out", "out/pep"], 3, once=True),
    Scenario("simulate", [*MD, "--time", "8ps", "--replicas", "3", "--jobs", "2", "--out", "out"],
             10, workers=True),
    Scenario("tempering", [*MD, "--time", "4ps", "--replicas", "2", "--tempering", "300K:400K:3",
                           "--jobs", "2", "--out", "out"], 8, workers=True),
    Scenario("flatten", [*MD, "--time", "4ps", "--replicas", "2", "--flatten", "phi,psi",
                         "--building", "8ps", "--jobs", "2", "--out", "out"], 8, workers=True),
    Scenario("prepare", ["prepare", "{made}/simulate/out", "--out", "out"], 6,
             needs=("simulate",)),
    Scenario("label", ["label", "{made}/prepare/out", "--system", MOLECULE, "--out", "out",
                       "--jobs", "1", "-q"], 5, needs=("prepare",)),
    Scenario("train", ["train", MOLECULE, "--data", "{made}/prepare/out", "--out", "out",
                       *TRAINING, "-q"], 12, needs=("prepare",)),
    Scenario("sample", ["sample", MOLECULE, "--steps", "2", "-n", "150", "--batch-size", "25",
                        "--out", "out/e.dcd", *_SHIPPED], 8),
    Scenario("sample-weights", ["sample", MOLECULE, "--steps", "2", "-n", "4", "--weights",
                                "--jobs", "1", "--out", "out/e.dcd", *_SHIPPED], 3),
    Scenario("refine", ["refine", _ENSEMBLE, "--steps", "60", "--out", "out/r.dcd", "--jobs", "2",
                        "-q"], 6, workers=True, needs=("sample",)),
    Scenario("resample", ["resample", _ENSEMBLE, "--weights", "{made}/weights.npz", "--out",
                          "out/r.dcd"], 2, needs=("sample",)),
    Scenario("estimate", ["estimate", "{made}/train/out", "coupling:1", "--steps", "1,2",
                          "--calls", "8000", "--out", "out/e.json", "-q"], 5, needs=("train",)),
    Scenario("propagate", ["propagate", f"{MOLECULE}:dynamics", "--start", "{pdb}", "--time",
                           "2ps", "--lag", "20fs", "--chains", "4", "--save", "0.2ps", "--out",
                           "out/t.dcd", *_SHIPPED], 7),
    Scenario("compare", ["compare", _ENSEMBLE, "--reference", MOLECULE, "--no-transport", "--jobs",
                         "1", "--out", "out/a.html", "--offenders", "out/bad.dcd", "--figures",
                         "out/figures"], 5, needs=("sample",)),
    Scenario("check", ["check", "{made}/train/out", "--steps", "1", "-n", "64", "--jobs", "1",
                       "--out", "out/c.json", "-q"], 3, needs=("train",), status=1),
    Scenario("study", ["study", "{made}/train/out", "--steps", "1", "-n", "60", "--seeds", "2",
                       "--reference", MOLECULE, "--out", "out", "-q"], 5, needs=("train",)),
    Scenario("kinetics", ["kinetics", "{made}/simulate/out", "--lag", "0.2ps", "--states", "4",
                          "--out", "out"], 2, needs=("simulate",)),
    Scenario("run", ["run", MOLECULE, "--out", "out", "--budget", "60s", "--jobs", "1", "-q"], 2,
             begun={"plan.json": _PLAN, "training-steps.json": {"steps": 100,
                                                                 "seconds_a_step": 0.01}},
             clocked=True),
]  # fmt: skip


@dataclass
class Unbroken:
    """What a command leaves that nothing happened to."""

    files: dict[str, str]
    seconds: float
    replaced: int
    differing: list[str]


class Campaign:
    """Scenarios, their inputs and trials in a working folder, which is gone on with."""

    def __init__(self, work: Path, seed: int):
        self.work, self.seed = work, seed
        self.made = work / "made"
        self.rows: dict[str, list[dict]] = {}
        self.whole: dict[str, Unbroken] = {}
        self.path = work / "rows.json"
        if self.path.exists():
            kept = read_json(self.path).items()
            self.rows = {name: [row for row in own if _counts(row)] for name, own in kept}

    def words(self, scenario: Scenario) -> list[str]:
        """Return the words of a command."""
        pdb = self.work / "structure.pdb"
        return [word.format(made=self.made, pdb=pdb) for word in scenario.words]

    def begin(self, scenario: Scenario, folder: Path) -> None:
        """Make the folder of a run."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        for name, data in scenario.begun.items():
            write_json(folder / "out" / name, data)

    def once(self, scenario: Scenario, folder: Path) -> Ended:
        """Run a command to its end in a new folder."""
        self.begin(scenario, folder)
        ended = run(self.words(scenario), folder)
        if ended.status != scenario.status:
            raise RuntimeError(f"{scenario.name} ends with {ended.status}:\n{ended.text}")
        return ended

    def unbroken(self, scenario: Scenario) -> Unbroken:
        """Run a command twice without interruption; its files are inputs of others."""
        if scenario.name in self.whole:
            return self.whole[scenario.name]
        for name in scenario.needs:
            self.unbroken(next(s for s in SCENARIOS if s.name == name))
        self.once(scenario, self.made / scenario.name)  # imports and caches
        first = contents(self.made / scenario.name)
        again = self.work / "again" / scenario.name
        ended = self.once(scenario, again)
        second = contents(again)
        differing = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        found = Unbroken(first, ended.seconds, ended.replaced, differing)
        print(f"{scenario.name}: {ended.seconds:.1f} s, {ended.replaced} files, differing without "
              f"any kill: {differing or 'none'}", flush=True)  # fmt: skip
        self.whole[scenario.name] = found
        return found

    def trial(self, scenario: Scenario, number: int) -> dict:
        """Kill a command, give it again, and compare what it leaves."""
        whole = self.unbroken(scenario)
        rng = np.random.default_rng([self.seed, SCENARIOS.index(scenario), number])
        ways = [way for way in WAYS if way != "worker" or scenario.workers]
        way = ways[number % len(ways)]
        folder, words = self.work / "trial" / scenario.name, self.words(scenario)
        for _ in range(ATTEMPTS):
            self.begin(scenario, folder)
            kills, wrong = self.strike(scenario, way, folder, rng)
            row = {"verb": scenario.name, "number": number, "way": way, "kills": kills}
            if _counts(row | {"wrong": wrong}):
                break
        else:
            raise RuntimeError(f"{scenario.name} {number}: the end came before every kill.")
        last = run(words, folder)
        refused = scenario.once and last.status == 2 and "there already" in last.text
        if last.status != scenario.status and not refused:
            wrong.append(f"given again it ends with {last.status}: {last.text[-500:]}")
        found = contents(folder)
        for name in sorted(whole.files.keys() | found.keys()):
            if name not in found:
                wrong.append(f"{name} is missing")
            elif name not in whole.files:
                wrong.append(f"{name} is left over")
            elif scenario.clocked or name in whole.differing:
                continue
            elif found[name] != whole.files[name]:
                wrong.append(f"{name} differs")
        row |= {"right": not wrong, "wrong": wrong}
        print(json.dumps(row), flush=True)
        return row

    def strike(
        self, scenario: Scenario, way: str, folder: Path, rng: np.random.Generator
    ) -> tuple[list[dict], list[str]]:
        """Give a command and kill it, as often as its way says; return kills, and what is wrong."""
        whole = self.unbroken(scenario)
        kills, wrong, left = [], [], whole.seconds
        for _ in range(WAYS[way]):
            killer = _killer(way, left, whole.replaced, rng)
            ended = run(self.words(scenario), folder, killer)
            if ended.survivors:
                wrong.append(f"{ended.survivors} workers outlived their parent")
            wrong += _manners(way, ended)
            if not ended.killed:
                break
            kills.append(_told(killer, ended))
            left -= ended.seconds  # the next goes on, and ends the sooner
        return kills, wrong

    def go(self, scenarios: list[Scenario], share: float) -> Iterator[None]:
        """Make all trials that are not made yet, of all verbs in turn."""
        for number in range(max(s.kills for s in scenarios)):
            for scenario in scenarios:
                rows = self.rows.setdefault(scenario.name, [])
                made = any(row["number"] == number for row in rows)
                if not made and number < max(1, round(share * scenario.kills)):
                    try:
                        rows.append(self.trial(scenario, number))
                    except RuntimeError as error:  # of the unbroken command, or no kill came
                        print(error, flush=True)
                        continue
                    rows.sort(key=lambda row: row["number"])
                    write_json(self.path, self.rows)
                    yield


def _counts(row: dict) -> bool:
    """Return whether every kill of a trial came before the end, or something was wrong anyway."""
    return bool(row["wrong"]) or len(row["kills"]) == WAYS[row["way"]]


def _killer(way: str, seconds: float, replaced: int, rng: np.random.Generator) -> Killer:
    """Return what kills a command that takes so long and replaces so many files."""
    if way == "files":
        late = min(4, replaced)
        return Killer(replaced=replaced - 1 - int(rng.integers(late)), before=bool(rng.integers(2)))
    return Killer(seconds=float(rng.uniform(0.05, 0.95)) * seconds, worker=way == "worker")


def _told(killer: Killer, ended: Ended) -> dict:
    if killer.replaced is not None:
        return {"file": killer.replaced, "before": killer.before}
    return {"seconds": round(killer.seconds, 3), "files_by_then": ended.replaced}


def _manners(way: str, ended: Ended) -> list[str]:
    """Return what is wrong with how a process ended whose worker was killed."""
    if way != "worker" or ended.status == 0:
        return []
    found = []
    if ended.status != 2:
        found.append(f"with a worker killed it ends with {ended.status}")
    if "Traceback" in ended.text or "unexpected" in ended.text or "molflow:" not in ended.text:
        found.append(f"with a worker killed it says: {ended.text[-300:]}")
    return found


def inputs(campaign: Campaign) -> None:
    """Write the inputs that no command makes."""
    from molflow.systems import load_system

    system = load_system(MOLECULE)
    campaign.made.mkdir(parents=True, exist_ok=True)
    shutil.copy(system.folder / "structure.pdb", campaign.work / "structure.pdb")
    weights = np.random.default_rng(0).exponential(size=150)
    np.savez(campaign.made / "weights.npz", weights=weights)
    _PLAN["ensemble_hash"] = system.ensemble_hash


def summarised(rows: dict[str, list[dict]]) -> dict:
    """Return the headline figures."""
    every = [row for own in rows.values() for row in own]
    right = sum(row["right"] for row in every)
    return {
        "kills": f"{right} of {len(every)}",
        "signals": sum(len(row["kills"]) for row in every),
        "by_verb": {
            name: f"{sum(row['right'] for row in own)} of {len(own)}" for name, own in rows.items()
        },
        "by_way": {
            way: f"{sum(r['right'] for r in every if r['way'] == way)} of "
            f"{sum(r['way'] == way for r in every)}" for way in WAYS
        },
    }  # fmt: skip


def main() -> None:
    """Run the campaign."""
    parser = command_line(__doc__, seed=0)
    parser.add_argument("--work", type=Path, required=True, help="working folder, gone on with")
    parser.add_argument("--verbs", nargs="+", default=[s.name for s in SCENARIOS])
    parser.add_argument("--share", type=float, default=1.0, help="of the trials")
    options = parser.parse_args()
    # One processor, one order of sums: what differs then differs for a reason.
    os.environ |= {"OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}
    preload()
    _one_platform()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    campaign, start = Campaign(work, options.seed), time.perf_counter()
    inputs(campaign)
    for _ in campaign.go([s for s in SCENARIOS if s.name in options.verbs], options.share):
        parts = {
            "rows": campaign.rows, "seed": options.seed,
            "planned": sum(scenario.kills for scenario in SCENARIOS),
            "seconds_of_last_session": round(time.perf_counter() - start, 1),
            "differing_without_a_kill": {
                name: found.differing for name, found in campaign.whole.items() if found.differing
            },
        }  # fmt: skip
        write_json(
            options.out / "faults.json",
            {"summary": summarised(campaign.rows), **parts, **environment()},
        )


def _one_platform() -> None:
    """Have simulations that choose their platform choose the one that is the same everywhere."""
    from molflow.md import folder

    folder.fastest_platform = lambda system: ("Reference", {"Reference": 1.0})


if __name__ == "__main__":
    main()
