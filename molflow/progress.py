"""Progress on the terminal."""

from __future__ import annotations

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
