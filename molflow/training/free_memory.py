"""How much memory this process may still have: the machine's, or what its job was given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

#: By version of Linux's control groups: their folder, and files of what a group may have and has.
_GROUPS = {
    1: ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("sys/fs/cgroup", "memory.max", "memory.current"),
}
#: Contents of files that are kept as long as nobody needs the memory, in a group's statistics.
_RECLAIMED = {1: "total_inactive_file", 2: "inactive_file"}


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may still take; None where unknown.

    The least of what the machine has, of what the control groups of a batch scheduler's job or a
    container leave, and of the limit on the process's own addresses (``ulimit -v``).

    Parameters
    ----------
    root : Path
        Below which ``proc`` and ``sys`` are.
    """
    found = [
        *_of_machine(root / "proc/meminfo"),
        *_of_groups(root),
        *_of_addresses(root / "proc/self/status"),
    ]
    return max(0, min(found)) if found else None


def _of_machine(path: Path) -> Iterator[int]:
    if (available := _table(path).get("MemAvailable")) is not None:
        yield 1024 * available


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what the process's groups leave, of which each has a share of the one above it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, own = line.split(":", 2)
        version = 1 if "memory" in controllers.split(",") else 2 if not controllers else None
        if version is None:
            continue
        mounted, most, now = _GROUPS[version]
        base = root / mounted
        group = base / own.strip("/")
        # A container sees its own group in the place of the highest.
        for folder in (group, *group.parents):
            limit, used = _number(folder / most), _number(folder / now)
            if limit is not None and used is not None:
                kept = _table(folder / "memory.stat").get(_RECLAIMED[version], 0)
                yield limit - used + kept
            if folder == base:
                break


def _of_addresses(path: Path) -> Iterator[int]:
    if sys.platform != "linux":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    size = _table(path).get("VmSize")
    if limit != resource.RLIM_INFINITY and size is not None:
        yield limit - 1024 * size


def _table(path: Path) -> dict[str, int]:
    """Return the numbers of a file of names and numbers."""
    rows = (line.replace(":", " ").split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    """Return the number in a file, None where it is absent or says ``max``."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
