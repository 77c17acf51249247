"""Long work kept in parts beside its file until it is finished, so that it can be resumed."""

from __future__ import annotations

import functools
import glob
import inspect
import shutil
from collections.abc import Callable
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

P = ParamSpec("P")
R = TypeVar("R")


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """Let no two processes at once do what has the same ``out``, an argument that may be None.

    Temporary files of processes that were killed are removed first.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.arguments["out"] is None:
            return function(*args, **kwargs)
        out = Path(bound.arguments["out"])
        check_length(out)
        new = not out.parent.exists()
        writable_folder(out.parent)
        sentence = f"another process is at work on '{out}': wait for it or choose another name."
        try:
            with alone_at(out.with_name(f".{out.name}.lock"), sentence):
                remove_leftovers(out.parent, glob.escape(out.stem))
                return function(*args, **kwargs)
        finally:
            if new and not any(out.parent.iterdir()):
                out.parent.rmdir()

    return run


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
    parts = out.with_name(f".{out.name}.parts")
    if parts.exists() and not _same_plan(parts / "plan.json", plan):
        shutil.rmtree(parts)
    writable_folder(parts)
    write_json(parts / "plan.json", plan)
    return parts


def _same_plan(path: Path, plan: dict) -> bool:
    try:
        return read_json(path) == plan
    except MolflowError:  # absent, or cut short by a power cut
        return False


def finished(out: Path, plan: dict) -> bool:
    """Return whether the file is there, whole, and what the same request once gave."""
    sidecar = out.with_suffix(".json")
    if not (out.is_file() and sidecar.is_file()):
        return False
    stored = read_json(sidecar)
    if not isinstance(stored, dict) or stored.get("plan") != plan:
        return False
    return stored.get("trajectory_sha256") == sha256_of(out)
