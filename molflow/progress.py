"""Progress on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized

from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def track(
    items: Sequence | Iterable, description: str, show: bool = True, total: int | None = None
) -> Iterator:
    """Iterate over items behind a progress bar, or with `Lines` where none is seen.

    Parameters
    ----------
    items : iterable
    description : str
    show : bool
        Whether anything is said.
    total : int, optional
        How many there are, where they do not say it.
    """
    if not show:
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    lines = Lines(description)
    count = len(items) if total is None and isinstance(items, Sized) else total
    of = "" if count is None else f" of {count}"
    with Progress(*columns) as progress:
        tracked = progress.track(items, total=total, description=description)
        for done, item in enumerate(tracked, start=1):
            yield item
            lines.say(f"{done}{of}")


class Lines:
    """Says on stderr how far long work is, a line now and then, where nothing shows a bar.

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
        self._wanted = not (sys.stderr.isatty() or get_console().is_jupyter)

    def say(self, state: str) -> None:
        """Print where the work is, unless that was said a moment ago."""
        now = time.monotonic()
        if self._wanted and now - self._last >= self.every:
            print(f"molflow: {self.what}, {state}", file=sys.stderr, flush=True)
            self._last = now
