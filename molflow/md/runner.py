"""Carry the parts of a simulation on, a segment at a time, in processes or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from molflow.errors import MolflowError
from molflow.farm import Farm, Jobs
from molflow.files import read_arrays, write_arrays, write_text
from molflow.md.bias import TorsionBias, load_bias
from molflow.md.metadynamics import Metadynamics, built_bias, check_metadynamics, deposited_segments
from molflow.md.platforms import gpus_to_share
from molflow.md.replica import (
    Arrays,
    Replica,
    ReplicaPlan,
    check_replica,
    checkpoint_path,
    ended_path,
    segment_path,
    segments_done,
)
from molflow.progress import Lines
from molflow.systems import MolecularSystem


def part_folder(out: Path, replica: int) -> Path:
    """Return the folder of one replica's segments and checkpoint."""
    return out / f"replica-{replica}"


@dataclass(frozen=True)
class _Part:
    """What is carried on by itself.

    Attributes
    ----------
    name : str
    folder : Path
        Of its segments and of what the last has left behind.
    plan
        With `frames`, `segment_frames` and `frame_interval`.
    seed : int
    counted : callable
        How many segments there are, of what the last has left behind.
    """

    name: str
    folder: Path
    plan: Any
    seed: int
    counted: Callable[[Arrays], int]

    @property
    def segments(self) -> int:
        """How many it is to have."""
        return -(-self.plan.frames // self.plan.segment_frames)

    def stored(self) -> Arrays | None:
        """Return what its last segment has left behind."""
        path = checkpoint_path(self.folder)
        return read_arrays(path) if path.exists() else None

    def keep(self, recorded: Arrays | None, stored: Arrays) -> None:
        """Write what `advance` has returned."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if recorded is not None:
                index = self.counted(stored) - 1
                write_arrays(segment_path(self.folder, index), **recorded)
            write_arrays(checkpoint_path(self.folder), **stored)
        except OSError as error:
            raise MolflowError(
                f"{self.name} failed: cannot write in '{self.folder}' ({error.strerror or error})."
            ) from error


class _Carrier:
    """What carries parts on in a process, with errors that name the part."""

    def __init__(self, make: Callable[[], Any]):
        self.carried = make()

    def advance(self, name: str, *arguments) -> tuple[Arrays | None, Arrays]:
        """Make the next segment of a part."""
        try:
            return self.carried.advance(*arguments)
        except MolflowError as error:
            raise MolflowError(f"{name} failed: {error}") from error
        except Exception as error:  # whatever OpenMM raises
            raise MolflowError(f"{name} failed: {type(error).__name__}: {error}") from error


def run_replicas(
    system: MolecularSystem,
    plans: list[ReplicaPlan],
    out: Path,
    jobs: Jobs,
    progress: bool,
    bias: TorsionBias | None = None,
    seconds: float | None = None,
) -> None:
    """Run every replica to its end.

    With `seconds` of wall-clock time each gets its share of them, and ends early where it does not
    get further.

    Raises
    ------
    MolflowError
        If a replica fails, its process dies or the cluster is lost.
    """
    parts = [
        _Part(f"replica {replica}", folder, plan, plan.seed, segments_done)
        for replica, plan in enumerate(plans)
        for folder in [part_folder(out, replica)]
        if not ended_path(folder).exists()
    ]
    for part in parts:
        if (stored := part.stored()) is not None:
            check_replica(part.folder, stored, bias)
    make, gpus = partial(Replica, system, plans[0], bias), gpus_to_share(plans[0].platform)
    _run(make, parts, jobs, progress, "simulating", seconds, gpus)


def run_metadynamics(
    system: MolecularSystem,
    draft: ReplicaPlan,
    platform: str,
    out: Path,
    jobs: Jobs,
    progress: bool,
) -> TorsionBias:
    """Return the bias of a simulation, from its file or from metadynamics that builds it now.

    Parameters
    ----------
    draft : ReplicaPlan
        With a `flattening`; its seed is that of the whole simulation.
    out : Path
        ``bias.npz`` is written there; the parts of the metadynamics are in ``metadynamics``.

    Raises
    ------
    MolflowError
        If the metadynamics fails or its process dies.
    """
    path, plan, folder = out / "bias.npz", draft.flattening, out / "metadynamics"
    assert plan is not None, "only a draft with a flattening has a bias"
    if not path.exists():
        counted = partial(deposited_segments, plan)
        part = _Part("the metadynamics", folder, plan, draft.seed, counted)
        if (stored := part.stored()) is not None:
            check_metadynamics(folder, stored, system, plan, draft.seed, platform)
        make = partial(Metadynamics, system, plan, platform)
        _run(make, [part], jobs, progress, "building the bias")
        built_bias(plan, folder).save(path)
    return load_bias(path)


def _run(
    make: Callable[[], Any],
    parts: list[_Part],
    jobs: Jobs,
    progress: bool,
    title: str,
    seconds: float | None = None,
    gpus: Sequence[str] = (),
) -> None:
    """Carry parts on to their end, every process at one of them at a time.

    Parameters
    ----------
    make : callable
        Makes what has ``advance(seed, stored, deadline)``, as `Replica` has.
    gpus : sequence of str
        See `molflow.farm.Farm`.
    """
    known = {part.name: part for part in parts}
    end = float("inf") if seconds is None else time.time() + seconds
    deadlines: dict[str, float] = {}

    def next_of(part: _Part, stored: Arrays | None) -> tuple | None:
        segments = 0 if stored is None else part.counted(stored)
        if segments == part.segments or ended_path(part.folder).exists():
            return None
        return part.name, part.seed, stored, deadlines[part.name]

    def starts(farm: Farm) -> Iterator[tuple[str, tuple]]:
        for place, part in enumerate(parts):
            # So many rounds are left, this one too, for those that wait.
            rounds = 1 if seconds is None else -(-(len(parts) - place) // farm.workers)
            now = time.time()
            deadlines[part.name] = now + max(0.0, end - now) / rounds
            task = next_of(part, part.stored())
            if task is not None:
                yield part.name, task

    def then(name: str, found: tuple) -> tuple | None:
        return next_of(known[name], found[1])

    with (
        _progress(parts, progress, title) as update,
        Farm(partial(_Carrier, make), jobs, len(parts), gpus) as farm,
    ):
        for name, found in farm.each("advance", starts(farm), then, ahead=1):
            part = known[name]
            part.keep(*found)
            if found[0] is not None and time.time() > deadlines[name]:
                write_text(ended_path(part.folder), "")
            update()


@contextmanager
def _progress(parts: list[_Part], show: bool, title: str):
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.completed:.3g} of {task.total:.3g} ns"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )

    def done() -> float:
        total = 0.0
        for part in parts:
            plan, segments = part.plan, sum(1 for _ in part.folder.glob("segment-*.npz"))
            total += min(plan.frames, segments * plan.segment_frames) * plan.frame_interval
        return total * 1e-3

    whole = sum(part.plan.frames * part.plan.frame_interval for part in parts) * 1e-3
    with Progress(*columns, console=Console(stderr=True)) as bar:
        first, start, lines = done(), time.monotonic(), Lines(title)
        task = bar.add_task("", total=whole, speed="")
        bar.update(task, completed=first)

        def update() -> None:
            now = done()
            rate = (now - first) / (time.monotonic() - start) * 86400
            speed = f"{rate:.3g} ns/day" if rate else ""
            bar.update(task, completed=now, speed=speed)
            lines.say(f"{now:.3g} of {whole:.3g} ns{speed and ', '}{speed}")

        yield update
