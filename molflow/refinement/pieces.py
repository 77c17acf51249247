"""All pieces of a refinement, in processes and in any order, the finished ones kept on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from molflow.farm import Farm, Jobs
from molflow.files import write_arrays
from molflow.parts import kept_arrays
from molflow.progress import track
from molflow.refinement.walkers import PIECE, Walk, Walked, Walker

#: Pieces below which starting processes costs more than it saves.
_SERIAL_PIECES = 8


def refine_positions(
    walk: Walk,
    positions: np.ndarray,
    parts: Path | None = None,
    jobs: Jobs = None,
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
    jobs : int or str, optional
        Processes, or a cluster, see `Farm`; by default one per core, or the caller's own for little
        work.
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
    tasks = {k: (k, positions[k * PIECE : (k + 1) * PIECE]) for k in todo}
    with Farm(partial(Walker, walk), jobs, len(todo)) as farm:
        walked = farm.each("piece", tasks)
        for k, piece in track(walked, f"refining by {walk.steps} steps", progress, len(todo)):
            if (name := names[k]) is not None:
                write_arrays(name, **vars(piece))
            found[k] = piece
    return Walked.joined([found[k] for k in sorted(found)])
