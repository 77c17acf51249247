"""Farms of Dask workers: what two bring, and what is left when one of those at work is killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from killing import Killer, contents, preload, run
from measuring import Others
from record import once

from molflow.files import writable_folder
from molflow.systems import load_system
from molflow.trajectories import write_trajectory

#: The system of dynamics and samples, and the same with dear labels.
SYSTEM, DEARER = "alanine_dipeptide", "alanine_dipeptide_gfn2"
#: Frames to label, replicas and their length, rounds of each.
FRAMES, REPLICAS, TIME, ROUNDS = 8192, 4, "240ps", 3
#: Share of a core that others may have meanwhile, and how often a run is made before they may.
OTHERS, TRIES = 0.05, 2
#: Moments at which each of those at work is killed, and how often a kill may come too late.
MOMENTS, ATTEMPTS = 10, 8
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Cluster:
    """A scheduler and workers of one thread in processes of their own.

    Parameters
    ----------
    folder : Path
        For what they leave, and their logs.
    workers : int
    port : int
    """

    def __init__(self, folder: Path, workers: int, port: int = 8796):
        self.address = f"tcp://127.0.0.1:{port}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"a scheduler has port {port} already: end it first.")
        writable_folder(folder)
        self.scheduler = self._begin(folder, "scheduler", "--port", str(port), "--no-dashboard")
        self.workers = self._begin(
            folder, "worker", self.address, "--nworkers", str(workers), "--nthreads", "1",
            "--no-dashboard", "--death-timeout", "60",
        )  # fmt: skip

    @staticmethod
    def _begin(folder: Path, what: str, *words: str) -> subprocess.Popen:
        with open(folder / f"{what}.log", "w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + what, *words],
                cwd=folder, env=os.environ | _ONE_THREAD, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def ready(self, workers: int) -> None:
        """Wait until so many workers are there."""
        import distributed

        with distributed.Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)

    def a_worker(self) -> int | None:
        """Return the process of one of the workers; another takes its place if it is killed."""
        import distributed

        with distributed.Client(self.address, timeout=60, set_as_default=False) as client:
            pids = list(client.run(os.getpid).values())
        return random.choice(pids) if pids else None

    def end(self) -> None:
        """End all that is left."""
        for process in (self.workers, self.scheduler):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """Have a cluster meanwhile."""
    started = Cluster(folder, workers)
    try:
        started.ready(workers)
        yield started
    finally:
        started.end()


def frames_to_label(folder: Path, count: int, name: str = DEARER) -> Path:
    """Write conformations about the structure of a system, and return their file."""
    system = load_system(name)
    start = system.start_positions()
    noise = 0.002 * np.random.default_rng(0).standard_normal((count, *start.shape))
    path = folder / f"{name}-{count}.h5"
    if not path.exists():
        write_trajectory(path, (start + noise).astype(np.float32), system.topology())
    return path


def speed_up(work: Path) -> dict:
    """Return wall seconds of molecular dynamics and of labels by one and by two workers."""
    tasks = {"dynamics": _dynamics, "labels": _labels}
    rows = {
        name: once(work / f"{name}.json", partial(_in_turn, work, name, task))
        for name, task in tasks.items()
    }
    return {"rows": rows, "speed_up": {name: row["speed_up"] for name, row in rows.items()}}


def _dynamics(work: Path, out: Path, jobs: str, warm: bool) -> None:
    from molflow.md.simulate import simulate

    simulate(
        SYSTEM, "40ps" if warm else TIME, REPLICAS, out, frame_interval="200fs",
        equilibration="2ps", platform="Reference", jobs=jobs, progress=False,
    )  # fmt: skip


def _labels(work: Path, out: Path, jobs: str, warm: bool) -> None:
    from molflow.md.label import label

    label(frames_to_label(work, 32 if warm else FRAMES), DEARER, out, jobs=jobs, progress=False)


def _in_turn(work: Path, name: str, task: Callable[[Path, Path, str, bool], None]) -> dict:
    """Let one and two workers take turns, and compare their files."""
    runs: dict[str, list[dict]] = {"1": [], "2": []}
    for turn in range(ROUNDS):
        for workers, found in runs.items():
            one = partial(_timed, work, int(workers), work / f"{name}-{workers}", task)
            found.append(once(work / f"{name}-{workers}-{turn}.json", one))
    files = [contents_but_records(work / f"{name}-{workers}") for workers in runs]
    middle = {
        workers: statistics.median(row["seconds"] for row in found)
        for workers, found in runs.items()
    }
    return {
        "runs": runs, "speed_up": middle["1"] / middle["2"], "same": files[0] == files[1],
    }  # fmt: skip


def _timed(
    work: Path, workers: int, out: Path, task: Callable[[Path, Path, str, bool], None]
) -> dict[str, float]:
    """Return wall seconds of a task, and processor seconds of other programs meanwhile."""
    for _ in range(TRIES):
        with cluster(work / "dask", workers) as farm:
            for warm in (True, False):  # workers import modules with their first work
                shutil.rmtree(out, ignore_errors=True)
                others, begun = Others(), time.perf_counter()
                task(work, out, farm.address, warm)
                row = {"seconds": time.perf_counter() - begun, "others": others.seconds()}
        print(out.name, row, flush=True)
        if row["others"] < OTHERS * row["seconds"]:
            break
    return row


def contents_but_records(folder: Path) -> dict[str, str]:
    """Return hashes of the files below a folder but for records, which hold times of the clock."""
    return {
        name: found for name, found in contents(folder).items() if not name.endswith(".json")
    }


def verbs(folder: Path) -> list[list[str]]:
    """Return command lines with pieces of a moment each, without ``--jobs``."""
    labelled = frames_to_label(folder, 96)
    start = str(load_system(SYSTEM).structure_path)
    return [
        ["simulate", SYSTEM, "--time", "24ps", "--replicas", "2", "--frame-interval", "20fs",
         "--equilibration", "1ps", "--platform", "Reference", "--out", "md"],
        ["label", str(labelled), "--system", DEARER, "--out", "labels"],
        ["sample", SYSTEM, "-n", "1500", "--steps", "2", "--batch-size", "64", "--device", "cpu",
         "--out", "samples/a.dcd"],
        ["propagate", f"{SYSTEM}:dynamics", "--start", start, "--time", "1ps", "--lag", "20fs",
         "--save", "20fs", "--chains", "8", "--batch-size", "2", "--device", "cpu",
         "--out", "chains/a.dcd"],
    ]  # fmt: skip


def kills(work: Path, seed: int) -> dict:
    """Kill a worker, the scheduler or the client at random moments, and compare what comes out."""
    work = writable_folder(work).resolve()
    preload()
    lines = verbs(work)
    random.seed(seed)

    def whole(k: int) -> dict:
        shutil.rmtree(work / f"unbroken-{k}", ignore_errors=True)
        with cluster(work / "dask", 2) as farm:
            ended = run([*lines[k], "--jobs", farm.address, "--quiet"], work / f"unbroken-{k}")
        assert ended.status == 0, ended.text
        return {"seconds": ended.seconds, "files": contents_but_records(work / f"unbroken-{k}")}

    unbroken = [once(work / f"unbroken-{k}.json", partial(whole, k)) for k in range(len(lines))]

    def broken(k: int) -> dict:
        victim, verb = ("worker", "scheduler", "client")[k % 3], (k // 3) % len(lines)
        moments, out = random.Random(f"{seed} {k}"), work / f"killed-{k}"
        for _ in range(ATTEMPTS):
            shutil.rmtree(out, ignore_errors=True)
            moment = moments.uniform(0.05, 0.95) * unbroken[verb]["seconds"]
            row = _killed(work, lines[verb], out, victim, moment)
            if row["struck"]:
                break
        else:
            raise RuntimeError(f"the end of {lines[verb][0]} came before every kill.")
        row |= {"verb": lines[verb][0]}
        row["same"] = contents_but_records(out) == unbroken[verb]["files"]
        print(k, row, flush=True)
        return row

    rows = [once(work / f"row-{k}.json", partial(broken, k)) for k in range(3 * MOMENTS)]
    counted = {
        victim: {
            "moments": sum(row["victim"] == victim for row in rows),
            "struck": sum(row["victim"] == victim and row["struck"] for row in rows),
            "same_files": sum(row["victim"] == victim and row["same"] for row in rows),
        }
        for victim in ("worker", "scheduler", "client")
    }
    seconds = {words[0]: one["seconds"] for words, one in zip(lines, unbroken, strict=True)}
    return {"counted": counted, "rows": rows, "seconds_unbroken": seconds}


def _killed(work: Path, words: list[str], out: Path, victim: str, moment: float) -> dict:
    """Run a command line in which one is killed, and to its end if it did not come to it."""
    with cluster(work / "dask", 2) as farm:
        asked = [*words, "--jobs", farm.address, "--quiet"]
        target, timer = None, None
        if victim != "client":
            target = farm.scheduler.pid if victim == "scheduler" else farm.a_worker()
            timer = threading.Timer(moment, os.kill, (target, signal.SIGKILL))
            timer.start()
        killer = Killer(seconds=moment) if victim == "client" else None
        ended = run(asked, out, killer)
        struck = ended.killed if timer is None else not timer.is_alive()
        if timer is not None:
            timer.cancel()
        row = {
            "victim": victim, "moment": moment, "struck": struck, "status": ended.status,
            "said": ended.text.strip().splitlines()[-1:] if ended.status == 2 else [],
        }  # fmt: skip
        if victim == "client" and ended.status != 0:
            row["status_again"] = run(asked, out).status
    if victim != "client" and ended.status != 0:
        with cluster(work / "dask", 2):
            row["status_again"] = run(asked, out).status
    return row
