"""All pieces of a refinement, in processes and in any order, the finished ones kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from molflow.files import write_arrays
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.parts import kept_arrays
from molflow.progress import track
from molflow.refinement.walkers import PIECE, Walk, Walked, Walker

#: Pieces below which starting processes costs more than it saves.
_SERIAL_PIECES = 8


def refine_positions(
    walk: Walk,
    positions: np.ndarray,
    parts: Path | None = None,
    jobs: int | None = None,
    progress: bool = False,
) -> Walked:
    """Walk from every conformation.

    The result depends on the walk and on the positions, not on the number of processes nor on
    whether the work was interrupted.

    Parameters
    ----------
    walk : Walk
    positions : ndarray, (n, n_atoms, 3)
        nm.
    parts : Path, optional
        Folder in which finished pieces are kept, and from which they are taken.
    jobs : int, optional
        Processes; by default one per core, or the caller's own for little work.
    progress : bool
    """
    names = {
        k: None if parts is None else parts / f"refined-{k:07d}.npz"
        for k in range(-(-len(positions) // PIECE))
    }
    kept = {k: kept_arrays(name) for k, name in names.items()}
    found = {k: Walked(**arrays) for k, arrays in kept.items() if arrays is not None}
    todo = [k for k in names if k not in found]
    if jobs is None and len(todo) < _SERIAL_PIECES:
        jobs = 1
    starts = {k: positions[k * PIECE : (k + 1) * PIECE] for k in todo}
    walked = _walked(walk, starts, number_of_jobs(jobs, len(todo)))
    for k, piece in track(walked, f"refining by {walk.steps} steps", progress, len(todo)):
        if (name := names[k]) is not None:
            write_arrays(name, **vars(piece))
        found[k] = piece
    return Walked.joined([found[k] for k in sorted(found)])


def _walked(walk: Walk, starts: dict[int, np.ndarray], jobs: int) -> Iterator[tuple[int, Walked]]:
    if not starts:
        return
    if jobs == 1:
        walker = Walker(walk)
        yield from ((k, walker.piece(k, part)) for k, part in starts.items())
        return
    pool = ProcessPoolExecutor(
        jobs, mp_context=spawning, initializer=_prepare, initargs=(walk,)
    )
    try:
        with caller_not_rerun():
            pieces = [pool.submit(_work, k, part) for k, part in starts.items()]
        for piece in as_completed(pieces):
            yield piece.result()
    finally:
        pool.shutdown(cancel_futures=True)


_prepared: list[Walker] = []


def _prepare(walk: Walk) -> None:
    end_with_parent()
    _prepared[:] = [Walker(walk)]


def _work(index: int, starts: np.ndarray) -> tuple[int, Walked]:
    return index, _prepared[0].piece(index, starts)
