"""Hostile and damaged input: every reader has to end in one sentence.

    python benchmarks/fuzz.py --work WORK --minutes 60

Mutates small files that molflow reads (trajectories, topologies, weights, references, simulations,
training sets, descriptions of systems, configurations, checkpoints) by flipped bits, cuts, repeats,
numbers at their limits, splices of two files and, for JSON and YAML, by values of other types
anywhere. What reaches a line of `molflow` that none reached before is kept and mutated further.
Each batch runs in a child with limited memory; whatever is not a sentence (a `MolflowError`) or a
plain success, ends the child, or takes more than ten seconds is a finding, and its input is kept in
the working folder. Writes ``results/fuzz.json``; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import environment

import molflow
from molflow.errors import MolflowError
from molflow.files import read_json, write_json

HERE = Path(__file__).parent
PACKAGE = str(Path(molflow.__file__).parent)
SYSTEM = "alanine_dipeptide"
#: Seconds, and bytes of memory, that a reader may take.
SECONDS, MEMORY = 10, 4 << 30
#: Inputs a child reads before another is begun, and of formats that are looked at in a process of
#: their own for every input.
BATCH, SLOW_BATCH = 200, 10
_SPECIAL = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES = (
    None, True, 0, -1, 1, 2**31, 10**400, 1e308, float("nan"), "", "x", "\x00", "../../x", [], {},
    [[]], {"a": {}}, [None], "ü" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A reader, the folder that it reads and the files of it that are mutated."""

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], object]


def _ensemble(name: str):
    def read(folder: Path) -> object:
        from molflow.analysis.ensemble import read_ensemble

        found = read_ensemble(folder / name, folder / "topology.pdb")
        return [part.xyz.sum() for part in found.chunks(50)]

    return read


def _topology(name: str):
    def read(folder: Path) -> object:
        from molflow.analysis.ensemble import read_ensemble

        return read_ensemble(folder / "a.dcd", folder / name)

    return read


def _call(module: str, function: str, name: str = "", *arguments):
    def read(folder: Path) -> object:
        found = __import__(module, fromlist=[function])
        return getattr(found, function)(folder / name if name else folder, *arguments)

    return read


def _paths(folder: Path) -> object:
    from molflow.data.dataset import load_forces, load_training_data

    return load_forces(load_training_data(folder))


def _system(folder: Path) -> object:
    from molflow.systems import load_system

    system = load_system(folder)
    return system.topology(), system.start_positions()


def _configuration(folder: Path) -> object:
    from molflow.training.configuration import load_configuration

    return load_configuration([folder / "training.yaml"], ())


TARGETS = [
    *(Target(name, (name,), _ensemble(name)) for name in (
        "a.dcd", "a.xtc", "a.trr", "a.nc", "a.pdb", "a.gro", "a.xyz", "a.mdcrd", "a.lammpstrj",
    )),
    Target("topology.pdb", ("topology.pdb",), _topology("topology.pdb")),
    Target("record", ("b.json", "b.npz"), _ensemble("b.dcd")),
    Target("weights.npz", ("w.npz",), _call("molflow.analysis.weight_files", "read_log_weights",
                                            "w.npz", 20, "the ensemble")),
    Target("weights.txt", ("w.txt",), _call("molflow.analysis.weight_files", "read_log_weights",
                                            "w.txt", 20, "the ensemble")),
    Target("weights.npy", ("w.npy",), _call("molflow.analysis.weight_files", "read_log_weights",
                                            "w.npy", 20, "the ensemble")),
    Target("reference", ("reference.json", "reference.npz", "topology.pdb"),
           _call("molflow.analysis.reference", "load_reference")),
    Target("simulation", ("simulation.json", "topology.pdb"),
           _call("molflow.data.simulation", "open_simulation")),
    Target("training set", ("manifest.json", "train.npz", "validation.npz",
                            "train_forces.npz"), _paths),
    Target("system", ("system.yaml", "structure.pdb"), _system),
    Target("configuration", ("training.yaml",), _configuration),
    Target("checkpoint", ("model.json", "model.safetensors", "topology.pdb"),
           _call("molflow.training.checkpoint", "load_checkpoint")),
]  # fmt: skip


def seeds(folder: Path) -> None:
    """Write the files that are mutated, each reader's in a folder of its own."""
    import mdtraj

    from molflow.comparison import find_reference
    from molflow.data.dataset import data_hash
    from molflow.files import sha256_of, write_arrays
    from molflow.systems import systems_folder

    truth = find_reference(SYSTEM)
    made = mdtraj.Trajectory(truth.positions[:20], truth.topology, time=np.arange(20.0))
    made.unitcell_lengths, made.unitcell_angles = np.full((20, 3), 4.0), np.full((20, 3), 90.0)
    for target in TARGETS:
        own = folder / target.name
        own.mkdir(parents=True)
        made[0].save_pdb(str(own / "topology.pdb"))
        made.save_dcd(str(own / "a.dcd"))
        for name in target.files:
            if name.startswith("a.") and name != "a.dcd":
                made[:5].save(str(own / name))
    own = folder / "record"
    made.save_dcd(str(own / "b.dcd"))
    write_json(own / "b.json", {"trajectory_sha256": sha256_of(own / "b.dcd"), "n": 20,
                                "checkpoint": {"split": {"train": [0], "validation": [1]}}})
    write_arrays(own / "b.npz", energies=np.zeros(20), log_weights=np.zeros(20))
    weights = np.linspace(1, 2, 20)
    np.savez_compressed(folder / "weights.npz/w.npz", weights=weights)
    np.save(folder / "weights.npy/w.npy", weights)
    np.savetxt(folder / "weights.txt/w.txt", weights)
    truth.select([0, 1]).save(folder / "reference")
    small = {name: truth.positions[k : k + 5] for k, name in ((0, "train"), (5, "validation"))}
    for name, positions in small.items():
        write_arrays(folder / f"training set/{name}.npz", positions=positions)
        write_arrays(folder / f"training set/{name}_forces.npz", forces=positions)
    write_json(folder / "training set/manifest.json", {
        "system": SYSTEM, "ensemble": truth.ensemble, "ensemble_hash": truth.ensemble_hash,
        "split": {"train": [0], "validation": [1], "held_out": [2]}, "n_atoms": 22,
        "frames": {name: 5 for name in small}, "scale": 0.2, "temperature": 300.0,
        "data_hash": data_hash(small["train"]), "validation_hash": data_hash(small["validation"]),
        "dynamics": {
            "hot_frames": 0, "masses": [1.0] * 22,
            "forces_sha256": {name: data_hash(array) for name, array in small.items()},
        },
    })  # fmt: skip
    write_json(folder / "simulation/simulation.json", {
        "system": SYSTEM, "ensemble": {}, "ensemble_hash": "a", "temperature": 300.0,
        "frame_interval_ps": 1.0, "replicas": 2, "status": "finished", "sha256": {},
    })  # fmt: skip
    place = systems_folder() / SYSTEM
    for name in ("system.yaml", "structure.pdb"):
        shutil.copy(place / name, folder / "system" / name)
    shutil.copy(place / "training.yaml", folder / "configuration")
    for name in ("model.json", "model.safetensors", "topology.pdb"):
        shutil.copy(place / "checkpoint-beads5" / name, folder / "checkpoint" / name)


def mutated(data: bytes, name: str, rng: random.Random, other: bytes) -> bytes:
    """Return a file with one to a few changes."""
    if name.endswith((".json", ".yaml")) and rng.random() < 0.6:
        return _restructured(data, name, rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        place, kind = rng.randrange(len(out)), rng.randrange(8)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[place : place + rng.choice((1, 4, 80, len(out)))]
        elif kind == 2:
            out[place:place] = out[place : place + rng.choice((1, 8, 81, 1000))]
        elif kind == 3:
            size = rng.choice((1, 2, 4, 8))
            value = rng.choice(_SPECIAL) % (1 << 8 * size)
            out[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 4:
            cut = rng.randrange(len(other) + 1)
            out[place:] = other[cut:]
        elif kind == 5:
            out[place : place + 8] = rng.choice(
                (b"********", b"nan     ", b"1e999   ", b"-0.0    ", b"        ", b"\xff" * 8)
            )
        elif kind == 6:
            out[place:place] = rng.randbytes(rng.choice((1, 3, 40)))
        else:
            out = bytearray(b"\n".join(rng.sample(lines := bytes(out).split(b"\n"), len(lines))))
    return bytes(out)


def _restructured(data: bytes, name: str, rng: random.Random) -> bytes:
    """Return JSON or YAML with a value of another type somewhere, or nested very deep."""
    import yaml

    if rng.random() < 0.02:
        return b"[" * 100_000 + b"]" * 100_000 if rng.random() < 0.5 else b'{"a":' * 100_000
    try:
        value = json.loads(data) if name.endswith(".json") else yaml.safe_load(data)
    except (ValueError, yaml.YAMLError, RecursionError):
        return data[: len(data) // 2]
    places: list = []

    def walk(node) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    if not isinstance(value, (dict, list)):
        return data
    walk(value)
    for node, key in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
        if rng.random() < 0.2 and isinstance(node, dict):
            node.pop(key, None)
        else:
            node[key] = rng.choice(_VALUES)
    return (json.dumps(value) if name.endswith(".json") else yaml.safe_dump(value)).encode()


def _lines_of(read: Callable[[], object]) -> tuple[str, str, set]:
    """Return how reading ends, the traceback if it is a finding, and the lines it came to."""
    seen: set = set()

    def watch(frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return watch

    end, told = "read", ""
    signal.alarm(SECONDS)
    sys.settrace(watch)
    try:
        read()
    except MolflowError:
        end = "sentence"
    except _TooLong:
        end, told = "finding", f"more than {SECONDS} s"
    except BaseException:
        end, told = "finding", traceback.format_exc()[-2000:]
    finally:
        sys.settrace(None)
        signal.alarm(0)
    return end, told, {hash(place) for place in seen}


class _TooLong(BaseException):
    """A reader takes too long."""


def _late(number, frame):
    raise _TooLong


def _batch(target: Target, corpus: list[dict[str, bytes]], seed: int, work: Path, sender) -> None:
    """Mutate and read a batch in this child; tell of each input before and after it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + (4 << 30), MEMORY + (4 << 30)))
    signal.signal(signal.SIGALRM, _late)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    rng, known = random.Random(seed), set()
    for _ in range(SLOW_BATCH if target.name in ("a.xtc", "a.trr") else BATCH):
        base, other = rng.choice(corpus), rng.choice(corpus)
        name = rng.choice(target.files)
        files = dict(base) | {name: mutated(base[name], name, rng, other[name])}
        for file, data in files.items():
            (work / file).write_bytes(data)
        sender.send(("begins", files))
        end, told, lines = _lines_of(lambda: target.read(work))
        fresh = bool(lines - known)
        known |= lines
        sender.send(("ended", end, told, sorted(lines) if fresh else []))
        if end == "finding" and told.startswith("more"):
            break
    sender.send(("done",))


class Fuzzing:
    """A corpus for each reader, what was tried and what was found."""

    def __init__(self, work: Path, seed: int):
        self.work, self.path = work, work / "state.json"
        self.state = read_json(self.path) if self.path.exists() else {
            "seed": seed, "inputs": 0, "core_seconds": 0.0, "batches": 0, "ends": {},
            "findings": [], "kept": {},
        }  # fmt: skip
        if not (work / "seeds").exists():
            seeds(work / "seeds")
        self.corpus = {
            t.name: [{f: (work / "seeds" / t.name / f).read_bytes() for f in t.files}]
            for t in TARGETS
        }
        self.lines: dict[str, set] = {t.name: set() for t in TARGETS}

    def batch(self, target: Target) -> None:
        """Run one batch in a child."""
        folder = self.work / "now" / target.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.work / "seeds" / target.name, folder)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        seed = 1_000_003 * self.state["seed"] + self.state["batches"]
        start = time.process_time() + _children()
        child = multiprocessing.get_context("fork").Process(
            target=_batch, args=(target, self.corpus[target.name], seed, folder, sender)
        )
        child.start()
        sender.close()
        files: dict[str, bytes] = {}
        while True:
            try:
                if not receiver.poll(10 * SECONDS):
                    child.kill()
                    self._finding(target, files, "no end, and no answer to an alarm")
                    break
                word, *rest = receiver.recv()
            except EOFError:
                child.join()
                self._finding(target, files, f"the process ends ({child.exitcode})")
                break
            if word == "done":
                break
            if word == "begins":
                files = rest[0]
                continue
            end, told, lines = rest
            self.state["inputs"] += 1
            ends = self.state["ends"].setdefault(target.name, {})
            ends[end] = ends.get(end, 0) + 1
            if end == "finding":
                self._finding(target, files, told)
            if set(lines) - self.lines[target.name]:
                self.lines[target.name] |= set(lines)
                self.corpus[target.name].append(files)
        child.join()
        self.state["batches"] += 1
        self.state["core_seconds"] += time.process_time() + _children() - start
        self.state["kept"][target.name] = len(self.corpus[target.name])
        write_json(self.path, self.state)

    def _finding(self, target: Target, files: dict[str, bytes], told: str) -> None:
        last = told.strip().splitlines()[-1][:200] if told.strip() else "?"
        place = [x.strip() for x in told.splitlines() if "/molflow/" in x][-1:]
        key = f"{target.name}: {last.partition(':')[0]} at {place[0] if place else '?'}"
        if any(found["key"] == key for found in self.state["findings"]):
            return
        number = len(self.state["findings"])
        kept = self.work / "findings" / f"{number:04d}"
        kept.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (kept / name).write_bytes(data)
        (kept / "told.txt").write_text(told)
        self.state["findings"].append({"key": key, "last": last, "reader": target.name})
        print(f"finding {number}: {key}: {last}", flush=True)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def summarised(state: dict) -> dict:
    """Return the headline figures."""
    return {
        "inputs": state["inputs"],
        "core_hours": round(state["core_seconds"] / 3600, 3),
        "findings": len(state["findings"]),
        "readers": len(TARGETS),
        "kept_inputs": sum(state["kept"].values()),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0, help="of the processor, this session")
    parser.add_argument("--readers", nargs="+", default=[target.name for target in TARGETS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    from killing import preload

    preload()
    fuzzing = Fuzzing(options.work.resolve(), options.seed)
    targets = [target for target in TARGETS if target.name in options.readers]
    end = fuzzing.state["core_seconds"] + 60 * options.minutes
    while fuzzing.state["core_seconds"] < end:
        for target in targets:
            fuzzing.batch(target)
        write_json(
            options.out / "fuzz.json",
            {"summary": summarised(fuzzing.state), **fuzzing.state, **environment()},
        )


if __name__ == "__main__":
    main()
