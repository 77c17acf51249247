"""Which files molflow wrote itself and may replace: all others are the user's."""

from __future__ import annotations

import json
from pathlib import Path

from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json

#: Stands in pictures and documents that molflow writes.
MARK = "molflow comparison"
#: First line of the table of samples that failed a test.
OFFENDERS_HEADER = "sample,frame,test,where,value,lowest,highest,unit"


def check_report_paths(report: Path, twin: Path) -> None:
    """Raise if report or numbers would replace a file of the user.

    Raises
    ------
    MolflowError
        If one is there that no comparison wrote.
    """
    for path, known in ((report, _is_report), (twin, _is_scores)):
        if path.exists() and not known(path):
            raise MolflowError(
                f"out is '{report}', for which '{path}' would be replaced, and no comparison wrote "
                f"that{_why(path)}: choose another name for the report."
            )


def check_own_file(path: Path, keys: set[str]) -> None:
    """Raise if a file of results, JSON or NPZ, would replace one that is not of its kind.

    Parameters
    ----------
    path : Path
    keys : set of str
        That such a file has.

    Raises
    ------
    MolflowError
        If there is one without them.
    """
    if not path.exists():
        return
    try:
        found = read_arrays(path) if path.suffix == ".npz" else read_json(path)
    except MolflowError:
        found = None
    if not isinstance(found, dict) or not keys <= found.keys():
        raise MolflowError(
            f"out is '{path}', which is there already and is not what this command writes"
            f"{_why(path)}: choose another name."
        )


def _why(path: Path) -> str:
    record = path.suffix in (".json", ".npz") and any(
        path.with_suffix(suffix).exists() for suffix in (".dcd", ".xtc", ".h5", ".pdb")
    )
    return " (it is the record of the trajectory beside it)" if record else ""


def check_offenders_paths(path: Path, topology: Path | None) -> None:
    """Raise if the trajectory of offenders or what goes beside it would replace a user's file.

    Raises
    ------
    MolflowError
        If one is there and no table of offenders that molflow wrote is beside it.
    """
    table = path.with_suffix(".csv")
    own = table.is_file() and _text(table).startswith(OFFENDERS_HEADER)
    there = [p for p in (path, table, topology) if p is not None and p.exists()]
    if there and not own:
        raise MolflowError(
            f"offenders is '{path}', for which '{there[0]}' would be replaced, and no comparison "
            "wrote that: choose another name."
        )


def check_figures_folder(folder: Path, names: list[str]) -> None:
    """Raise if a picture would replace a file of the user.

    Raises
    ------
    MolflowError
        If one of the names is there without molflow's mark.
    """
    for name in names:
        path = folder / name
        if path.exists() and MARK.encode() not in (path.read_bytes() if path.is_file() else b""):
            raise MolflowError(
                f"figures is '{folder}', where '{name}' would be replaced, and no comparison wrote "
                "that: choose another folder."
            )


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(100_000).decode("utf-8", "replace")


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    text = _text(path)
    # Reports of earlier versions have no mark, but always the verdict.
    return f'content="{MARK}"' in text or '<section class="verdict' in text


def _is_scores(path: Path) -> bool:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"verdict", "metrics", "validity"} <= data.keys()
