"""A propagation in a folder of parts, which can be interrupted at any time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from molflow.farm import Farm
from molflow.files import read_arrays, write_arrays
from molflow.propagation.chains import SEGMENT, Segment
from molflow.propagation.progress import Gauge
from molflow.propagation.request import Request
from molflow.propagation.watch import Break


class ChainBroke(Exception):
    """Chains are broken; `found` says which and how, `before` those that broke earlier."""

    def __init__(self, found: list[Break], before: list[Break]):
        super().__init__(found[0].what)
        self.found, self.before = found, before


@dataclass
class Group:
    """Chains that walk together, and what there is of them on disk.

    Attributes
    ----------
    chains : range
        Their numbers.
    parts : Path
    frames : int
        How many there are.
    x : ndarray or None
        States after them.
    """

    chains: range
    parts: Path
    frames: int = 0
    x: np.ndarray | None = None
    broken: dict[int, Break] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self._state.exists():
            stored = read_arrays(self._state)
            self.frames, self.x = int(stored["frames"]), stored["x"]
            rows = json.loads(str(stored["broken"]))
            self.broken = {row["chain"]: Break(**row) for row in rows}

    @property
    def _state(self) -> Path:
        return self.parts / f"state-{self.chains.start:07d}.npz"

    def segment(self, index: int) -> Path:
        """Return the file of a segment."""
        return self.parts / f"segment-{self.chains.start:07d}-{index:06d}.npz"

    @property
    def segments(self) -> list[Path]:
        """Files of the finished segments, in order."""
        return [self.segment(k) for k in range(-(-self.frames // SEGMENT))]

    def keep(self, found: Segment) -> None:
        """Write a segment, and then the state after it."""
        write_arrays(self.segment(self.frames // SEGMENT), **found.arrays)
        self.frames += len(found.arrays["positions"])
        self.x = found.x
        self.broken = found.broken | self.broken
        rows = json.dumps([asdict(one) for one in self.broken.values()])
        write_arrays(
            self._state, x=found.x, frames=np.array(self.frames), broken=np.array(rows)
        )


class Run:
    """A propagation in a folder of parts: segments of frames of chains that walk together.

    Parameters
    ----------
    request : Request
    parts : Path
    together : int
        Chains that walk together, in one network call.
    keep_going : bool
        Whether to go on with the other chains when one breaks; it is not counted from then on.
    """

    def __init__(self, request: Request, parts: Path, together: int, keep_going: bool = False):
        self.request, self.parts, self.keep_going = request, parts, keep_going
        starts = range(0, request.chains, together)
        self.groups = [
            Group(range(first, min(first + together, request.chains)), parts) for first in starts
        ]
        #: Segments that end the run, since chains broke in them, by the first chain of the group.
        self.last: dict[int, Segment] = {}

    @property
    def broken(self) -> dict[int, Break]:
        """Which chains broke, and how, of a run that goes on with the others."""
        return {number: one for group in self.groups for number, one in group.broken.items()}

    @property
    def whole(self) -> np.ndarray:
        """Numbers of the chains that did not break."""
        broken = self.broken
        return np.array([i for i in range(self.request.chains) if i not in broken])

    def to_the_end(self, farm: Farm, progress: bool) -> None:
        """Propagate until all frames are there.

        Parameters
        ----------
        farm : Farm
            Of `Chains`.

        Raises
        ------
        ChainBroke
            If one breaks.
        """
        known = {group.chains.start: group for group in self.groups}
        end = self.request.frames

        def next_of(group: Group) -> tuple | None:
            if group.frames >= end or group.chains.start in self.last:
                return None
            return group.chains, group.frames, group.x

        def then(first: int, found: Segment) -> tuple | None:
            return next_of(known[first])

        def todo() -> Iterator[tuple[int, tuple]]:
            for first, group in known.items():
                if (task := next_of(group)) is not None:
                    yield first, task

        with Gauge(self.request, progress) as gauge:
            for group in self.groups:
                for k, path in enumerate(group.segments):
                    gauge.note(k * SEGMENT, read_arrays(path)["kinetic"], len(group.chains))
            for first, found in farm.each("segment", todo(), then, ahead=1):
                group = known[first]
                if found.broken and not self.keep_going:
                    # Others may break before: they go on to where this one did.
                    self.last[first] = found
                    end = min(end, group.frames + SEGMENT)
                    continue
                if len(self.broken | found.broken) == self.request.chains:
                    self.last[first] = found
                    break
                gauge.note(group.frames, found.arrays["kinetic"], len(group.chains))
                group.keep(found)
                gauge.show()
        if self.last:
            raise self._broke()

    def _broke(self) -> ChainBroke:
        """Return the first that broke, or the last where others went on."""
        broken = self.broken
        for found in self.last.values():
            broken = found.broken | broken
        rows = [broken[chain] for chain in sorted(broken)]
        time = (max if self.keep_going else min)(one.time for one in rows)
        return ChainBroke(
            [one for one in rows if one.time == time], [one for one in rows if one.time < time]
        )

    def frames_until(self, broke: Break) -> np.ndarray:
        """Return the frames of a chain before it broke, (frames, n_atoms, 3)."""
        group = next(one for one in self.groups if broke.chain in one.chains)
        place = broke.chain - group.chains.start
        stored = [read_arrays(path)["positions"][:, place] for path in group.segments]
        if group.chains.start in self.last:
            arrays = self.last[group.chains.start].arrays
            stored += [arrays["positions"][:, place]] if "positions" in arrays else []
        count = math.ceil(broke.time / self.request.interval - 1e-6) - 1
        return np.concatenate(stored)[:count] if stored else np.empty((0, 0, 3), np.float32)
