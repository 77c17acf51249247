"""What a part of the measurements has found, kept after each; its seconds, memory, waits."""

from __future__ import annotations

import fcntl
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from molflow.files import write_json

Task = Callable[[], object]
#: A task is repeated for so many seconds.
LEAST = 0.25


class Notes:
    """Measurements of one part, one after the other, on a device that other parts use too.

    Parameters
    ----------
    path : Path
        Of what has been measured, rewritten after each; the lock stands beside it.
    device : str
    until : float
        `time.time` after which nothing is begun.
    rounds : (int, int)
        How often a task is timed at least and at most.
    """

    def __init__(self, path: Path, device: str, until: float, rounds: tuple[int, int] = (3, 30)):
        self.path, self.device, self.until = path, torch.device(device), until
        self.rounds, self._held = rounds, False
        self.rows: dict[str, dict] = {}

    def take(self, name: str, make: Callable[[], dict]) -> None:
        """Measure something; where that fails or the time is over, keep the sentence."""
        if time.time() > self.until:
            self.rows[name] = {"failed": "left out: the time was over"}
        else:
            try:
                self.rows[name] = make()
            except Exception as error:  # of whatever kind: the others are to be measured
                first = str(error).strip().splitlines() or [""]
                self.rows[name] = {"failed": f"{type(error).__name__}: {first[0]}"}
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # others use the device too
        write_json(self.path, self.rows)

    def seconds(self, task: Task, once: bool = False) -> float:
        """Return the median of wall-clock seconds of a task, after a first time that is not timed.

        What takes long is timed the first time, and only once, where its kernels have run before.
        """
        if not once:
            task()
        fewest, most = (1, 1) if once else self.rounds
        found: list[float] = []
        with self.alone():
            self.wait()
            while len(found) < fewest or (sum(found) < LEAST and len(found) < most):
                begun = time.perf_counter()
                task()
                self.wait()
                found.append(time.perf_counter() - begun)
        return statistics.median(found)

    def wait(self) -> None:
        """Wait until the device has done all it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the device for this part alone."""
        if self._held:
            yield
            return
        with open(self.path.parent / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def peak(self, task: Task) -> int | None:
        """Return the bytes on the device at the peak of a task, None on the processor."""
        if self.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        task()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device)

    def waits(self, task: Task) -> dict[str, int] | None:
        """Return how often a task makes the processor wait, by line; None on the processor."""
        if self.device.type != "cuda":
            return None
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                task()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        lines = [
            f"{'/'.join(Path(one.filename).parts[-3:])}:{one.lineno}"
            for one in caught if "synchroniz" in str(one.message)
        ]  # fmt: skip
        return dict(Counter(lines))
