"""Run the parts of a simulation in processes of their own, with progress."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from molflow.errors import MolflowError
from molflow.md.bias import TorsionBias, load_bias
from molflow.md.metadynamics import Metadynamics, built_bias
from molflow.md.replica import Replica, ReplicaPlan, ended_path
from molflow.progress import Lines
from molflow.systems import MolecularSystem
from molflow.workers import caller_not_rerun, end_with_parent, spawning

#: Seconds between looks at the folders.
_POLL = 0.5


def part_folder(out: Path, replica: int) -> Path:
    """Return the folder of one replica's segments and checkpoint."""
    return out / f"replica-{replica}"


@dataclass(frozen=True)
class _Part:
    """What runs in one process: its name, folder, plan, and what makes the object that runs."""

    name: str
    folder: Path
    plan: Any
    make: Callable


def _work(part: _Part, failure) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C for all
    end_with_parent()
    try:
        part.make().run()
    except MolflowError as error:
        failure.send(str(error))
    except OSError as error:
        failure.send(f"cannot write in '{part.folder}' ({error.strerror or error}).")
    except Exception as error:  # whatever OpenMM raises has to reach the caller as well
        failure.send(f"{type(error).__name__}: {error}")


def run_replicas(
    system: MolecularSystem,
    plans: list[ReplicaPlan],
    out: Path,
    jobs: int,
    progress: bool,
    bias: TorsionBias | None = None,
    seconds: float | None = None,
) -> None:
    """Run every replica to its end, at most `jobs` at once.

    With `seconds` of wall-clock time each gets its share of them, and ends early where it does not
    get further.

    Raises
    ------
    MolflowError
        If a replica fails or its process dies.
    """
    parts = [
        _Part(f"replica {replica}", folder, plan, partial(Replica, system, plan, folder, bias))
        for replica, plan in enumerate(plans)
        for folder in [part_folder(out, replica)]
        if not ended_path(folder).exists()
    ]
    _run(parts, jobs, progress, "simulating", seconds)


def run_metadynamics(
    system: MolecularSystem, draft: ReplicaPlan, platform: str, out: Path, progress: bool
) -> TorsionBias:
    """Return the bias of a simulation, from its file or from metadynamics that builds it now.

    Parameters
    ----------
    draft : ReplicaPlan
        With a `flattening`; its seed is that of the whole simulation.
    out : Path
        ``bias.npz`` is written there; the parts of the metadynamics are in ``metadynamics``.

    Raises
    ------
    MolflowError
        If the metadynamics fails or its process dies.
    """
    path, plan, folder = out / "bias.npz", draft.flattening, out / "metadynamics"
    assert plan is not None, "only a draft with a flattening has a bias"
    if not path.exists():
        make = partial(Metadynamics, system, plan, folder, draft.seed, platform)
        _run([_Part("the metadynamics", folder, plan, make)], 1, progress, "building the bias")
        built_bias(plan, folder).save(path)
    return load_bias(path)


def _run(
    parts: list[_Part], jobs: int, progress: bool, title: str, seconds: float | None = None
) -> None:
    """Run parts to their end, at most `jobs` at once, each in a process of its own.

    One process a part, because OpenMM's Reference platform and Python's ``random`` keep one
    generator a process. On any exception, Ctrl-C included, the workers are ended first.

    Raises
    ------
    MolflowError
        If a part fails or its process dies.
    """
    waiting = list(parts)
    end = None if seconds is None else time.time() + seconds
    running: dict[str, tuple] = {}
    try:
        with _progress(parts, progress, title) as update:
            while waiting or running:
                while waiting and len(running) < jobs:
                    # So many rounds are left, this one too, for those that wait.
                    rounds = -(-len(waiting) // jobs)
                    part = waiting.pop(0)
                    if end is not None:
                        now = time.time()
                        share = max(0.0, end - now) / rounds
                        part = replace(part, make=partial(part.make, deadline=now + share))
                    receiver, sender = spawning.Pipe(duplex=False)
                    process = spawning.Process(target=_work, args=(part, sender))
                    with caller_not_rerun():
                        process.start()
                    sender.close()
                    running[part.name] = process, receiver
                wait([process.sentinel for process, _ in running.values()], timeout=_POLL)
                update()
                for name in [n for n, (p, _) in running.items() if p.exitcode is not None]:
                    process, receiver = running.pop(name)
                    _check(name, process, receiver)
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _check(name: str, process, receiver) -> None:
    message = None
    try:
        message = receiver.recv() if receiver.poll() else None
    except EOFError:
        pass  # the worker closed its end without a word
    if message:
        raise MolflowError(f"{name} failed: {message}")
    if process.exitcode != 0:
        raise MolflowError(
            f"the process of {name} died (exit code {process.exitcode}), perhaps for "
            "lack of memory: run the same command again to resume."
        )


@contextmanager
def _progress(parts: list[_Part], show: bool, title: str):
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.completed:.3g} of {task.total:.3g} ns"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )

    def done() -> float:
        total = 0.0
        for part in parts:
            plan, segments = part.plan, sum(1 for _ in part.folder.glob("segment-*.npz"))
            total += min(plan.frames, segments * plan.segment_frames) * plan.frame_interval
        return total * 1e-3

    whole = sum(part.plan.frames * part.plan.frame_interval for part in parts) * 1e-3
    with Progress(*columns, console=Console(stderr=True)) as bar:
        first, start, lines = done(), time.monotonic(), Lines(title)
        task = bar.add_task("", total=whole, speed="")
        bar.update(task, completed=first)

        def update() -> None:
            now = done()
            rate = (now - first) / (time.monotonic() - start) * 86400
            speed = f"{rate:.3g} ns/day" if rate else ""
            bar.update(task, completed=now, speed=speed)
            lines.say(f"{now:.3g} of {whole:.3g} ns{speed and ', '}{speed}")

        yield update
