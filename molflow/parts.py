"""Long work kept in parts beside its file until it is finished, so that it can be resumed."""

from __future__ import annotations

import functools
import glob
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from molflow.errors import MolflowError
from molflow.files import (
    alone_at,
    check_length,
    read_arrays,
    read_json,
    remove_leftovers,
    sha256_of,
    writable_folder,
    write_json,
)

#: Names, without what they end in, of files that go beside others of any name.
_BESIDE = "topology", "metrics"
#: What tells processes that train together which of them they are.
_RANKS = "RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"
P = ParamSpec("P")
R = TypeVar("R")


def alone_with(
    *files: str, folders: tuple[str, ...] = (), together: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let no two processes at once do what writes the same files or folders.

    Parameters
    ----------
    files, folders : str
        Names of arguments; those that are None are not written. See `at_work_on`, `at_work_in`.
    together : bool
        Whether several processes may do it together, of which the first holds all for them. Other
        tasks of a cluster's job, which have ranks too, know nothing of each other.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if together and any(int(os.environ.get(name) or 0) for name in _RANKS):
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            with ExitStack() as held:
                for names, hold in ((files, at_work_on), (folders, at_work_in)):
                    for path in (bound.arguments[name] for name in names):
                        if path is not None:
                            held.enter_context(hold(path))
                return function(*args, **kwargs)

        return run

    return decorate


#: Of what writes the file ``out``, and of what writes a folder of that name.
alone, alone_in = alone_with("out"), alone_with(folders=("out",))


@contextmanager
def at_work_on(out: str | Path) -> Iterator[None]:
    """Hold the name of a file that is to be written, and those of what goes beside it.

    Temporary files of processes that were killed are removed first. A folder that was made for it
    goes again if nothing was written.

    Raises
    ------
    MolflowError
        If another process holds it, the name is too long or the folder cannot be written.
    """
    out = Path(out)
    check_length(out)
    sentence = f"another process is at work on '{out}': wait for it or choose another name."
    with _perhaps_new(out.parent), alone_at(out.with_name(f".{out.name}.lock"), sentence):
        for stem in (out.stem, *_BESIDE):
            remove_leftovers(out.parent, glob.escape(stem))
        yield


@contextmanager
def at_work_in(out: str | Path) -> Iterator[None]:
    """Hold a folder, as `at_work_on` holds a file.

    Raises
    ------
    MolflowError
        If another process holds it, the name is too long, or the folder cannot be written.
    """
    out = Path(out)
    check_length(out)
    sentence = f"another process is at work in '{out}': wait for it or choose another folder."
    with _perhaps_new(out), alone_at(out / ".lock", sentence):
        for folder in (out, *(path for path in out.iterdir() if path.is_dir())):
            remove_leftovers(folder)
        yield


@contextmanager
def _perhaps_new(folder: Path) -> Iterator[None]:
    """Make a folder if need be; one that is new and stays empty goes again."""
    new = not folder.exists()
    writable_folder(folder)
    try:
        yield
    finally:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def kept_arrays(path: Path | None) -> dict[str, np.ndarray] | None:
    """Return the arrays of a finished part, None if it is absent, empty or damaged."""
    if path is None or not path.exists():
        return None
    try:
        return read_arrays(path)
    except MolflowError:  # of a power cut: it is made again
        return None


def kept_array(path: Path | None, rows: int | None = None) -> np.ndarray | None:
    """Return the array of a finished ``.npy`` part, None if absent, damaged or of other length.

    Parameters
    ----------
    path : Path or None
    rows : int, optional
        How long it is if it is whole. It is mapped, not read.
    """
    if path is None or not path.exists():
        return None
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if rows is None or len(found) == rows else None


def claim_parts(out: Path, plan: dict) -> Path:
    """Return the folder of finished parts; one that belongs to another request is emptied.

    Parameters
    ----------
    out : Path
        The file that the parts are for.
    plan : dict
        What was asked for, JSON-safe: parts of the same plan are kept.
    """
    parts = parts_of(out)
    if parts.exists() and not _same_plan(parts / "plan.json", plan):
        shutil.rmtree(parts)
    writable_folder(parts)
    write_json(parts / "plan.json", plan)
    return parts


def parts_of(out: Path) -> Path:
    """Return the folder of the parts of a file that is being made."""
    return out.with_name(f".{out.name}.parts")


def _same_plan(path: Path, plan: dict) -> bool:
    try:
        return read_json(path) == plan
    except MolflowError:  # absent, or cut short by a power cut
        return False


def write_record(out: Path, record: dict) -> None:
    """Write what is said of a finished trajectory beside it, by which `finished` knows it again.

    Parameters
    ----------
    out : Path
    record : dict
        JSON-safe, with the ``plan`` where the work can be resumed.
    """
    named = {"trajectory": out.name, "trajectory_sha256": sha256_of(out)}
    write_json(out.with_suffix(".json"), record | named)


def finished(out: Path, plan: dict) -> bool:
    """Return whether the file is there, whole, and what the same request once gave.

    If so its parts go, which a process that was killed at its end may have left.

    Raises
    ------
    MolflowError
        If a file of this name, or of those beside it, is there that molflow did not write.
    """
    sidecar = out.with_suffix(".json")
    try:
        stored = read_json(sidecar)
    except MolflowError:  # absent, or of another program
        stored = None
    recorded = stored.get("trajectory_sha256") if isinstance(stored, dict) else None
    if recorded is None and not parts_of(out).exists():
        for path in (out, sidecar, out.with_suffix(".npz")):
            if path.exists():
                raise MolflowError(
                    f"'{path}' is there already, and no record says that it was made here: choose "
                    "another name for out."
                )
    if recorded is None or stored.get("plan") != plan:
        return False
    if not out.is_file() or recorded != sha256_of(out):
        return False
    shutil.rmtree(parts_of(out), ignore_errors=True)
    return True
