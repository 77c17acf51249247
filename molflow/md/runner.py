"""Run the replicas of a simulation in parallel processes, with progress."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from molflow.errors import MolflowError
from molflow.md.replica import ReplicaPlan
from molflow.md.workers import caller_not_rerun, end_with_parent, spawning
from molflow.systems import MolecularSystem

#: Seconds between looks at the folders.
_POLL = 0.5


def part_folder(out: Path, replica: int) -> Path:
    """Return the folder of one replica's segments and checkpoint."""
    return out / f"replica-{replica}"


def _work(system: MolecularSystem, plan: ReplicaPlan, folder: Path, failure) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C for all
    end_with_parent()
    from molflow.md.replica import Replica

    try:
        Replica(system, plan, folder).run()
    except MolflowError as error:
        failure.send(str(error))
    except OSError as error:
        failure.send(f"cannot write in '{folder}' ({error.strerror or error}).")
    except Exception as error:  # whatever OpenMM raises has to reach the caller as well
        failure.send(f"{type(error).__name__}: {error}")


def run_replicas(
    system: MolecularSystem, plans: list[ReplicaPlan], out: Path, jobs: int, progress: bool
) -> None:
    """Run every replica to its end, at most `jobs` at once, each in a process of its own.

    One process a replica, because OpenMM's Reference platform and Python's ``random`` keep one
    generator a process. On any exception, Ctrl-C included, the workers are ended first.

    Raises
    ------
    MolflowError
        If a replica fails or its process dies.
    """
    waiting = list(range(len(plans)))
    running: dict[int, tuple] = {}
    try:
        with _progress(plans, out, progress) as update:
            while waiting or running:
                while waiting and len(running) < jobs:
                    replica = waiting.pop(0)
                    receiver, sender = spawning.Pipe(duplex=False)
                    process = spawning.Process(
                        target=_work,
                        args=(system, plans[replica], part_folder(out, replica), sender),
                    )
                    with caller_not_rerun():
                        process.start()
                    sender.close()
                    running[replica] = process, receiver
                wait([process.sentinel for process, _ in running.values()], timeout=_POLL)
                update()
                for replica in [r for r, (p, _) in running.items() if p.exitcode is not None]:
                    process, receiver = running.pop(replica)
                    _check(replica, process, receiver)
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _check(replica: int, process, receiver) -> None:
    message = None
    try:
        message = receiver.recv() if receiver.poll() else None
    except EOFError:
        pass  # the worker closed its end without a word
    if message:
        raise MolflowError(f"replica {replica} failed: {message}")
    if process.exitcode != 0:
        raise MolflowError(
            f"the process of replica {replica} died (exit code {process.exitcode}), perhaps for "
            "lack of memory: run the same command again to resume."
        )


@contextmanager
def _progress(plans: list[ReplicaPlan], out: Path, show: bool):
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.completed:.3g} of {task.total:.3g} ns"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )

    def done() -> float:
        total = 0.0
        for replica, plan in enumerate(plans):
            segments = sum(1 for _ in part_folder(out, replica).glob("segment-*.npz"))
            total += min(plan.frames, segments * plan.segment_frames) * plan.frame_interval
        return total * 1e-3

    whole = sum(plan.frames * plan.frame_interval for plan in plans) * 1e-3
    with Progress(*columns, console=Console(stderr=True)) as bar:
        first, start = done(), time.monotonic()
        task = bar.add_task("", total=whole, completed=first, speed="")

        def update() -> None:
            now = done()
            rate = (now - first) / (time.monotonic() - start) * 86400
            bar.update(task, completed=now, speed=f"{rate:.3g} ns/day" if rate else "")

        yield update
