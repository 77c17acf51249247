"""Command lines in forked processes that are killed at chosen moments, and what they leave."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

#: Keys whose values are times and speeds of the machine, not of the result.
VOLATILE = {
    "seconds", "platform_steps_per_second", "samples_per_second", "cpu_seconds_per_sample",
    "effective_per_core_second", "jacobian_share", "seconds_a_step", "seconds_per_sample",
    "seconds_of_last_session",
}  # fmt: skip
#: Logs for people, which hold the date and the process.
_LOGS = ("events.out.tfevents", "hparams.yaml")
#: Seconds that workers may outlive the process that started them.
PATIENCE = 120.0


@dataclass
class Killer:
    """What happens to a process: nothing, or SIGKILL at a moment or about a replaced file.

    Attributes
    ----------
    seconds : float, optional
        After its start.
    replaced : int, optional
        Number of the file, from 0, that takes its name when the process dies.
    before : bool
        Whether it dies before that file has its name, or right after.
    worker : bool
        Whether one of its workers is killed instead of itself.
    """

    seconds: float | None = None
    replaced: int | None = None
    before: bool = False
    worker: bool = False


@dataclass
class Ended:
    """How a process ended: its status, negative for a signal, and what it had printed."""

    status: int
    seconds: float
    replaced: int
    survivors: int
    killed: bool
    text: str


def preload() -> None:
    """Import once what every verb needs, so that forked processes begin at once."""
    import deeptime  # noqa: F401
    import lightning  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import mdtraj  # noqa: F401
    import openmm.app  # noqa: F401
    import ot  # noqa: F401
    import rich.progress  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)
    from molflow import comparison, whole_way  # noqa: F401
    from molflow.exact import estimate, weighted  # noqa: F401
    from molflow.md import label, simulate  # noqa: F401
    from molflow.propagation import propagate  # noqa: F401
    from molflow.refinement import refine  # noqa: F401
    from molflow.sampling import ensemble  # noqa: F401
    from molflow.setup import init  # noqa: F401
    from molflow.step_study import study  # noqa: F401
    from molflow.training import run  # noqa: F401


def run(words: list[str], folder: Path, killer: Killer | None = None, limit: float = 600) -> Ended:
    """Run a command line of molflow in a folder, in a process of its own that may be killed."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    count = folder.parent / f"{folder.name}.count"
    count.unlink(missing_ok=True)
    start, killed = time.monotonic(), False
    process = os.fork()
    if process == 0:
        _become(words, folder, log, count, killer)
    if killer is not None and killer.seconds is not None:
        killed = _strike(process, killer, start)
    status = _await(process, limit - (time.monotonic() - start))
    seconds = time.monotonic() - start
    if killer is not None and killer.replaced is not None:
        killed = status == -signal.SIGKILL
    survivors = _survivors(process)
    replaced = len(count.read_bytes()) if count.exists() else 0
    return Ended(status, seconds, replaced, survivors, killed, log.read_text("utf-8", "replace"))


def _become(words: list[str], folder: Path, log: Path, count: Path, killer: Killer | None):
    """Be the process: never returns."""
    status = 70
    try:
        os.setsid()
        os.chdir(folder)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        _count_replaced(count, killer)
        _fork_workers()
        from molflow.cli import app

        try:
            app(words, prog_name="molflow")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _count_replaced(count: Path, killer: Killer | None) -> None:
    """Count the files that take their names in this process, and die about one of them."""
    replace, own, done = os.replace, os.getpid(), [0]
    wanted = None if killer is None else killer.replaced

    def counted(*arguments, **options):
        if os.getpid() != own:
            return replace(*arguments, **options)
        if done[0] == wanted and killer.before:
            os.kill(own, signal.SIGKILL)
        replace(*arguments, **options)
        with open(count, "ab") as file:
            file.write(b".")
        if done[0] == wanted:
            os.kill(own, signal.SIGKILL)
        done[0] += 1

    os.replace = counted


def _fork_workers() -> None:
    """Have workers begin as copies of this process, which has used neither OpenMM nor CUDA."""
    forking = multiprocessing.get_context("fork")
    for name, module in list(sys.modules.items()):
        if name.startswith("molflow.") and hasattr(module, "spawning"):
            module.spawning = forking


def _strike(process: int, killer: Killer, start: float) -> bool:
    """Kill the process or a worker of it at the moment; return whether there was one to kill."""
    while time.monotonic() - start < killer.seconds:
        if _ended(process):
            return False
        time.sleep(0.002)
    if not killer.worker:
        if _ended(process):
            return False
        os.kill(process, signal.SIGKILL)
        return True
    while not _ended(process):
        for worker in _children(process):
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        time.sleep(0.002)
    return False


def _ended(process: int) -> bool:
    """Return whether a child has ended; it stays to be waited for."""
    found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _await(process: int, limit: float) -> int:
    end = time.monotonic() + max(limit, 1.0)
    while not _ended(process):
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _stat(process: str) -> list[str]:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # state, parent, group, session


def _children(process: int) -> list[int]:
    every = [name for name in os.listdir("/proc") if name.isdecimal()]
    return [int(name) for name in every if _stat(name)[1:2] == [str(process)]]


def _survivors(process: int) -> int:
    """Return how many workers of a process that has ended are still there after a while."""
    end = time.monotonic() + PATIENCE
    while True:
        every = [name for name in os.listdir("/proc") if name.isdecimal()]
        left = [n for n in every if (s := _stat(n))[3:4] == [str(process)] and s[0] != "Z"]
        if not left:
            return 0
        if time.monotonic() > end:
            for name in left:
                os.kill(int(name), signal.SIGKILL)
            return len(left)
        time.sleep(0.05)


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of every file below a folder, of what does not depend on the clock."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): _hash(path)
        for path in files
        if not path.name.startswith(_LOGS)
    }


def _hash(path: Path) -> str:
    kind = path.suffix
    if kind == ".json":
        data = json.dumps(steady(json.loads(path.read_text("utf-8"))), sort_keys=True).encode()
    elif kind == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        data = json.dumps(steady(rows)).encode()
    elif kind == ".safetensors":
        with safe_open(path, framework="np") as file:
            parts = [(name, file.get_tensor(name)) for name in sorted(file.keys())]
        data = b"".join(name.encode() + np.ascontiguousarray(x).tobytes() for name, x in parts)
    elif kind == ".pdf":
        data = _drawn(path.read_bytes())
    else:
        data = path.read_bytes()
    return hashlib.sha256(data).hexdigest()


def _drawn(data: bytes) -> bytes:
    """Return what a PDF draws: matplotlib now and then writes 0 as -0, which is the same page."""
    parts = []
    for found in re.finditer(rb"(?<!end)stream\r?\n", data):
        content = data[found.end() : data.index(b"endstream", found.end())]
        try:
            content = zlib.decompressobj().decompress(content)
        except zlib.error:
            pass
        parts.append(re.sub(rb"(?<![\d.])-0(?![\d.])", b"0", content))
    return b"".join(parts)


def steady(value):
    """Return JSON-safe data without times and speeds."""
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items() if k not in VOLATILE}
    return [steady(part) for part in value] if isinstance(value, list) else value
