"""Processes that work beside the caller: spawned, because OpenMM and CUDA do not survive a fork."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

from molflow.errors import MolflowError

#: What tells numerical libraries how many threads to use.
_THREADS = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"
#: PR_SET_PDEATHSIG of the Linux kernel.
_PARENT_DEATH_SIGNAL = 1
#: The start method of every worker.
spawning = multiprocessing.get_context("spawn")


def number_of_jobs(jobs: int | None, tasks: int) -> int:
    """Return how many processes to use for some tasks: as asked, or one per usable core.

    Raises
    ------
    MolflowError
        If `jobs` is not a positive whole number.
    """
    if jobs is None:
        usable = getattr(os, "sched_getaffinity", None)
        jobs = len(usable(0)) if usable else os.cpu_count() or 1
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise MolflowError(f"jobs is {jobs!r}: give the number of processes, 1 or more.")
    return min(jobs, max(1, tasks))


def visible_gpus(count: int) -> tuple[str, ...]:
    """Return GPUs of this machine by the names that ``CUDA_VISIBLE_DEVICES`` takes.

    Parameters
    ----------
    count : int
        How many there are, where that variable does not name those that may be used.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(str(k) for k in range(count))


@contextmanager
def caller_not_rerun() -> Iterator[None]:
    """Start processes in this context without running the caller's script again in each.

    Each computes with one thread, unless the environment says otherwise: on busy cores several
    would mostly wait for each other.

    A spawned process imports the main script, so that a script without the ``__main__`` guard
    would start itself anew. Our workers need nothing from it, so its file is hidden meanwhile.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = getattr(main, "__spec__", None), None
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
        main.__dict__.update(hidden)
        main.__spec__ = spec


def end_with_parent() -> None:
    """Make this worker end as soon as its parent does, even if the parent was killed.

    A worker left behind would write into a folder that a resumed run is writing too. On Linux the
    kernel ends it, whatever it is at (with the thread that started it, which waits for it);
    elsewhere a thread of its own does.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it was gone before
            os._exit(1)
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
