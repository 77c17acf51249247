"""Hostile and damaged input: every reader has to end in one sentence.

    python benchmarks/fuzz.py --work WORK --minutes 60

Mutates small files that molflow reads (trajectories, topologies, weights, references, simulations,
training sets, descriptions of systems, configurations, checkpoints) by flipped bits, cuts, repeats,
numbers at their limits, splices of two files and, for JSON and YAML, by values of other types
anywhere. What reaches a line of `molflow` that none reached before is kept and mutated further.
Each batch runs in a child with limited memory; whatever is not a sentence (a `MolflowError`) or a
plain success, ends the child, or takes more than ten seconds of the processor is a finding, and its
input is kept in the working folder. Writes ``results/fuzz.json``; goes on where it stopped.
"""

from __future__ import annotations

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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fuzz_readers import TARGETS, Target, seeds
from record import command_line, environment

import molflow
from molflow.analysis.files.decoding import close_idle
from molflow.errors import MolflowError
from molflow.files import read_json, write_json

PACKAGE = str(Path(molflow.__file__).parent)
#: Seconds of the processor, and bytes of memory, that a reader may take; seconds without a word.
SECONDS, MEMORY, SILENCE = 10, 4 << 30, 300
#: Inputs a child reads before another is begun, and of formats that are looked at in a process of
#: their own for every input.
BATCH, SLOW_BATCH = 200, 10
_LATE = f"more than {SECONDS} s", f"no word for {SILENCE} s"
_SPECIAL = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES = (
    None, True, 0, -1, 1, 2**31, 10**400, 1e308, float("nan"), "", "x", "\x00", "../../x", [], {},
    [[]], {"a": {}}, [None], "ü" * 300,
)  # fmt: skip


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
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    sys.settrace(watch)
    try:
        read()
    except MolflowError:
        end = "sentence"
    except _TooLong:
        end, told = "finding", _LATE[0]
    except BaseException:
        end, told = "finding", traceback.format_exc()[-2000:]
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return end, told, {hash(place) for place in seen}


class _TooLong(BaseException):
    """A reader takes too long."""


def _late(number, frame):
    raise _TooLong


def _mutations(
    target: Target, corpus: list[dict[str, bytes]], seed: int
) -> Iterator[dict[str, bytes]]:
    """Yield the files of a batch: some of the corpus, one of them changed."""
    rng = random.Random(seed)
    for _ in range(SLOW_BATCH if target.slow else BATCH):
        base, other = rng.choice(corpus), rng.choice(corpus)
        name = rng.choice(target.files)
        yield dict(base) | {name: mutated(base[name], name, rng, other[name])}


def _read_all(target: Target, inputs: Iterable[dict[str, bytes]], work: Path, sender) -> None:
    """Read inputs in this child; tell of each before and after it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + (4 << 30), MEMORY + (4 << 30)))
    signal.signal(signal.SIGPROF, _late)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    known: set = set()
    for files in inputs:
        for file, data in files.items():
            (work / file).write_bytes(data)
        sender.send(("begins", files))
        end, told, lines = _lines_of(lambda: target.read(work))
        close_idle()
        fresh = bool(lines - known)
        known |= lines
        sender.send(("ended", end, told, sorted(lines) if fresh else []))
        if told in _LATE:
            break
    sender.send(("done",))


class Fuzzing:
    """A corpus for each reader, what was tried and what was found."""

    def __init__(self, work: Path, seed: int, targets: list[Target]):
        self.work, self.path = work, work / "state.json"
        self.state = read_json(self.path) if self.path.exists() else {
            "seed": seed, "inputs": 0, "core_seconds": 0.0, "batches": 0, "readers": {},
            "findings": [],
        }  # fmt: skip
        shutil.rmtree(work / "seeds", ignore_errors=True)
        seeds(work / "seeds")
        self.lines: dict[str, set] = {target.name: set() for target in targets}
        self.corpus: dict[str, list[dict[str, bytes]]] = {}
        for target in targets:
            kept = sorted((work / "corpus" / target.name).glob("*"))
            self.corpus[target.name] = [
                {file: (folder / file).read_bytes() for file in target.files}
                for folder in [work / "seeds" / target.name, *kept]
            ]
            for _, _, _, lines in self._read(target, self.corpus[target.name]):
                self.lines[target.name] |= set(lines)
            self._look_again(target)

    def batch(self, target: Target) -> None:
        """Read one batch of new inputs."""
        seed = 1_000_003 * self.state["seed"] + self.state["batches"]
        start = time.process_time() + _children()
        own = self.state["readers"].setdefault(
            target.name, {"read": 0, "sentence": 0, "finding": 0, "kept": 0, "core_seconds": 0.0}
        )
        corpus = self.corpus[target.name]
        for files, end, told, lines in self._read(target, _mutations(target, corpus, seed)):
            if told in _LATE:  # or the machine was: once more
                end, told = next(self._read(target, [files]))[1:3]
            self.state["inputs"] += 1
            own[end] += 1
            if end == "finding":
                self._finding(target, files, told)
            if set(lines) - self.lines[target.name]:
                self.lines[target.name] |= set(lines)
                _put(files, self.work / "corpus" / target.name / f"{len(corpus):05d}")
                corpus.append(files)
        used = time.process_time() + _children() - start
        own["kept"], own["core_seconds"] = len(corpus), own["core_seconds"] + used
        self.state["batches"] += 1
        self.state["core_seconds"] += used
        write_json(self.path, self.state)

    def _read(
        self, target: Target, inputs: Iterable[dict[str, bytes]]
    ) -> Iterator[tuple[dict[str, bytes], str, str, list]]:
        """Yield inputs, how reading them in a child ended, what it told and which lines it saw."""
        folder = self.work / "now" / target.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.work / "seeds" / target.name, folder)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(
            target=_read_all, args=(target, inputs, folder, sender)
        )
        child.start()
        sender.close()
        files: dict[str, bytes] = {}
        try:
            while True:
                try:
                    if not receiver.poll(SILENCE):
                        child.kill()
                        yield files, "finding", _LATE[1], []
                        break
                    word, *rest = receiver.recv()
                except EOFError:
                    child.join()
                    yield files, "finding", f"the process ends ({child.exitcode})", []
                    break
                if word == "done":
                    break
                if word == "begins":
                    files = rest[0]
                else:
                    yield files, *rest
        finally:  # the processor's time of a child counts once it was waited for
            child.kill()
            child.join()

    def _look_again(self, target: Target) -> None:
        """Mark the findings of a reader that have been mended since."""
        for number, found in enumerate(self.state["findings"]):
            if found["reader"] == target.name:
                kept = self.work / "findings" / f"{number:04d}"
                files = {file: (kept / file).read_bytes() for file in target.files}
                ends = [end for _, end, _, _ in self._read(target, [files])]
                found["open"] = "finding" in ends

    def _finding(self, target: Target, files: dict[str, bytes], told: str) -> None:
        last = told.strip().splitlines()[-1][:200] if told.strip() else "?"
        # From the package on: where that lies is nobody's business.
        place = [x.rpartition("/molflow/")[2] for x in told.splitlines() if "/molflow/" in x][-1:]
        where = f"molflow/{place[0]}" if place else "?"
        key = f"{target.name}: {last.partition(':')[0]} at {where}"
        if any(found["key"] == key and found["open"] for found in self.state["findings"]):
            return
        number = len(self.state["findings"])
        kept = self.work / "findings" / f"{number:04d}"
        _put(files, kept)
        (kept / "told.txt").write_text(told)
        found = {"key": key, "last": last, "reader": target.name, "open": True}
        self.state["findings"].append(found)
        print(f"finding {number}: {key}: {last}", flush=True)


def _put(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def summarised(state: dict) -> dict:
    """Return the headline figures."""
    return {
        "inputs": state["inputs"],
        "core_hours": round(state["core_seconds"] / 3600, 3),
        "findings": len(state["findings"]),
        "open": sum(found["open"] for found in state["findings"]),
        "readers": len(state["readers"]),
        "kept_inputs": sum(own["kept"] for own in state["readers"].values()),
    }


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, seed=0, work=None)
    parser.add_argument("--minutes", type=float, default=5.0, help="of the processor, this session")
    parser.add_argument("--readers", nargs="+", default=[target.name for target in TARGETS])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    from killing import preload

    preload()
    targets = [target for target in TARGETS if target.name in options.readers]
    fuzzing = Fuzzing(options.work.resolve(), options.seed, targets)
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
