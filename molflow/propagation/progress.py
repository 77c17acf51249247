"""A bar with what is watched: simulated time, kinetic temperature and its drift."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from molflow.progress import Lines
from molflow.propagation.request import Request

if TYPE_CHECKING:
    from rich.progress import Progress


class Gauge:
    """Shows how far chains are, and how hot, while it is used as a context."""

    def __init__(self, request: Request, show: bool):
        self.request = request
        # Of every frame: the chains that are there, and the sum of their temperatures.
        self.there = np.zeros(request.frames)
        self.sums = np.zeros(request.frames)
        self._wanted, self._stack = show, ExitStack()
        self._bar: Progress | None = None
        self._lines = Lines("propagating")

    def __enter__(self) -> Gauge:
        if self._wanted:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("propagating"), BarColumn(),
                TextColumn("{task.completed:.4g} of {task.total:.4g} ps"),
                TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
            )  # fmt: skip
            self._bar = self._stack.enter_context(Progress(*columns, console=Console(stderr=True)))
            length = self.request.frames * self.request.interval
            self._task = self._bar.add_task("", total=length, state="")
            self.show()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def note(self, first: int, kinetic: np.ndarray, chains: int) -> None:
        """Take note of kinetic temperatures (frames, chains) in K that have come in.

        There are none, (frames, 0), where atoms have no velocities. `first` is the number of the
        first of the frames.
        """
        rows = slice(first, first + len(kinetic))
        self.there[rows] += chains
        self.sums[rows] += kinetic.sum(axis=1)

    def show(self) -> None:
        """Show what there is."""
        if self._bar is None:
            return
        request, state = self.request, ""
        means = self.sums[self.there > 0] / self.there[self.there > 0]
        if means.any():
            state = f"{means.mean():.1f} K"
            if len(means) >= 4:
                state += f", drift {drift(means[:, None])['value']:+.1f} K"
        walked = self.there.sum() / request.chains * request.interval
        self._bar.update(self._task, completed=walked, state=state)
        whole = request.frames * request.interval
        self._lines.say(f"{walked:.4g} of {whole:.4g} ps{state and ', '}{state}")


def drift(kinetic: np.ndarray) -> dict[str, float | None]:
    """Return by how much the second half of a run is hotter than the first, K.

    Parameters
    ----------
    kinetic : ndarray, (frames, chains)
        Kinetic temperatures, K; at least two frames.

    Returns
    -------
    dict
        ``value`` and its standard ``error`` over the chains, None for one chain.
    """
    half = len(kinetic) // 2
    rise = kinetic[-half:].mean(axis=0) - kinetic[:half].mean(axis=0)
    error = float(rise.std(ddof=1) / len(rise) ** 0.5) if len(rise) > 1 else None
    return {"value": float(rise.mean()), "error": error}
