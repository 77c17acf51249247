"""Progress on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def track(
    items: Sequence | Iterable, description: str, show: bool = True, total: int | None = None
) -> Iterator:
    """Iterate over items behind a progress bar; `total` says how many, where they do not."""
    if not show:
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        yield from progress.track(items, total=total, description=description)


class Lines:
    """Says on stderr how far long work is, a line now and then, where no terminal shows a bar.

    Parameters
    ----------
    what : str
        Before each line.
    every : float
        Seconds between lines.
    """

    def __init__(self, what: str, every: float = 60.0):
        self.what, self.every = what, every
        self._last = time.monotonic()
        self._wanted = not sys.stderr.isatty()

    def say(self, state: str) -> None:
        """Print where the work is, unless that was said a moment ago."""
        now = time.monotonic()
        if self._wanted and now - self._last >= self.every:
            print(f"molflow: {self.what}, {state}", file=sys.stderr, flush=True)
            self._last = now
