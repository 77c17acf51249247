"""Processor time, peak memory, and the least that an operation could cost on this machine."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

#: A task that wants more memory than this is not run.
MEMORY_LIMIT = 6 * 2**30

Task = Callable[[], object]


def interleaved(tasks: dict[Hashable, Task], rounds: int) -> dict[Hashable, dict[str, float]]:
    """Return median and lowest processor seconds of each task; tasks take turns."""
    times = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            begun = time.process_time()
            task()
            if turn:
                times[name].append(time.process_time() - begun)
    return {
        name: {"seconds": statistics.median(all_), "lowest": min(all_)}
        for name, all_ in times.items()
    }


def status(key: str) -> int:
    """Return a size in bytes that Linux knows of this process, such as ``VmHWM``, its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise LookupError(key)


class Others:
    """Processor seconds of this machine that went to processes other than this and its own (Linux).

    Beginnings and ends are not seen of descendants that end meanwhile and whose parents do not wait
    for them: let those that work live as long as this.
    """

    def __init__(self) -> None:
        self._before = self._now()

    def seconds(self) -> float:
        """Return how many went to them since the beginning."""
        return max(0.0, self._now() - self._before)

    @staticmethod
    def _now() -> float:
        tick, spent, parents = os.sysconf("SC_CLK_TCK"), {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            process = int(path.parent.name)
            parents[process] = int(fields[1])
            spent[process] = sum(map(int, fields[11:15]))  # waited children's, too
        own, found = {os.getpid()}, 0
        while len(own) > found:
            found = len(own)
            own |= {process for process, parent in parents.items() if parent in own}
        # User, nice, system, then idle and waiting, then interrupts and what other machines took.
        busy = [int(word) for word in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
        total = sum(busy) - busy[3] - busy[4]
        return (total - sum(spent[process] for process in own)) / tick


def peak_memory(task: Task) -> int | None:
    """Return the bytes that a task adds to the resident memory at its peak (Linux).

    None if the task would need more than `MEMORY_LIMIT`.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the recorded peak
    before = status("VmRSS")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + MEMORY_LIMIT, limits[1]))
    try:
        task()
    except (RuntimeError, MemoryError) as error:
        if "allocate" not in str(error):
            raise
        return None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    return status("VmHWM") - before


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, views aside."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            values = torch.utils._pytree.tree_leaves((args, kwargs, out))
            self.bytes += sum(v.nbytes for v in values if isinstance(v, torch.Tensor))
        return out


def floor_of(task: Task | None) -> dict | None:
    """Return FLOPs and bytes of a task, and the seconds they take at best on one core here.

    Multiplications at the rate of a large matrix product, and each operation's own reading and
    writing at the rate of a large copy; the slower of the two is the floor of unfused code whose
    arrays do not stay in the caches.
    """
    if task is None:
        return None
    with FlopCounterMode(display=False) as flops:
        task()
    with _Traffic() as traffic:
        task()
    rate, bandwidth = machine_rates()
    products, moved = flops.get_total_flops() / rate, traffic.bytes / bandwidth
    return {
        "flops": flops.get_total_flops(),
        "bytes": traffic.bytes,
        "seconds_of_flops": products,
        "seconds_of_bytes": moved,
        "seconds": max(products, moved),
    }


@cache
def machine_rates() -> tuple[float, float]:
    """Return FLOP/s of a matrix product and bytes/s of a copy, one core, float32."""
    a, big = torch.randn(1024, 1024), torch.randn(2**26)
    # Into memory that is there already: what the system takes to hand out new pages is no floor.
    target = torch.zeros_like(big)
    times = interleaved({"product": lambda: a @ a, "copy": lambda: target.copy_(big)}, 3)
    return 2 * 1024**3 / times["product"]["lowest"], 2 * big.nbytes / times["copy"]["lowest"]


def keep_freed_memory() -> None:
    """Let this process's glibc keep freed memory; as ``MALLOC_MMAP_MAX_=0`` and no trimming."""
    mmap_max, trim_threshold = -4, -1
    libc = ctypes.CDLL(None)
    if not (libc.mallopt(mmap_max, 0) and libc.mallopt(trim_threshold, -1)):
        raise OSError("this C library does not take the settings of glibc's mallopt")
