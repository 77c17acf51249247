"""Which trajectory files are read, how, and how many whole frames they hold."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mdtraj

from molflow.analysis.files.decoding import FRAGILE, decoded
from molflow.errors import MolflowError
from molflow.files import ascii_path

#: Read in pieces with a topology from elsewhere, and in pieces with their own.
_STREAMED = (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".netcdf"), (".h5", ".hdf5", ".lh5")
#: Read at once, because they are text or rare: without a topology, and with their own.
_HELD = (
    (".mdcrd", ".crd", ".xyz", ".xyz.gz", ".lammpstrj", ".ncrst", ".rst7", ".inpcrd", ".restrt"),
    (".pdb", ".pdb.gz", ".gro", ".cif", ".cif.gz", ".mmcif", ".mmcif.gz", ".pdbx", ".pdbx.gz",
     ".arc"),
)  # fmt: skip
#: Trajectory formats that need a topology, those that bring their own, and those read at once.
BARE, COMPLETE, HELD = _STREAMED[0] + _HELD[0], _STREAMED[1] + _HELD[1], _HELD[0] + _HELD[1]


def format_of(path: str | Path) -> str:
    """Return what a file's name ends in, in lower case, such as ``.dcd`` or ``.pdb.gz``."""
    path = Path(path)
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


#: How mdtraj says that a file has other atoms than its topology.
_COUNTS = re.compile(r"xyz must be shape \(Any, (\d+), 3\)\. You supplied\s+\(\d+, (\d+), 3\)")


def is_trajectory(path: str | Path) -> bool:
    """Return whether a path is named like a trajectory that can be read."""
    return format_of(path) in BARE + COMPLETE and not Path(path).is_dir()


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield a path by which mdtraj can open a file, and make sentences of its errors.

    Raises
    ------
    MolflowError
        If it cannot be read.
    """
    try:
        with ascii_path(path) as plain, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*netCDF4")  # scipy's reader is there
            yield plain
    except Exception as error:  # the readers of mdtraj raise all kinds
        if isinstance(error, MolflowError):
            raise
        reason = str(error).strip().rstrip(".") or type(error).__name__
        counts = _COUNTS.search(reason)
        if counts is not None:
            raise MolflowError(
                f"'{path}' has {counts[2]} atoms, and its topology {counts[1]}: give the topology "
                "that it was written with."
            ) from error
        raise MolflowError(
            f"the trajectory '{path}' cannot be read ({reason}): is it whole, and of the format "
            "that its name says?"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield an open trajectory file that can be read in pieces.

    Raises
    ------
    MolflowError
        If it cannot be opened or read.
    """
    with readable(path) as plain:
        fragile = format_of(path) in FRAGILE
        with decoded(plain, path) if fragile else mdtraj.open(str(plain)) as file:
            yield file


def read_topology(path: Path) -> mdtraj.Topology:
    """Return the topology that a file holds.

    Raises
    ------
    MolflowError
        If it cannot be read.
    """
    if format_of(path) in FRAGILE:
        with opened(path) as file:
            return file.topology
    with readable(path) as plain:
        return mdtraj.load_topology(str(plain))


def whole_frames(path: Path, file: Any) -> tuple[int, list[str]]:
    """Return how many whole frames a file that is read in pieces holds, and what to note.

    Parameters
    ----------
    path : Path
    file : Any
        The same as `opened`; it is at its first frame before and after.
    """
    kind, size = format_of(path), path.stat().st_size
    claimed: int | None = None
    rest = False
    if kind == ".trr":  # mdtraj does not count the frames of one that is cut short
        n, rest = _trr_frames(path, size)
    else:
        n = len(file)
    if kind == ".dcd":
        claimed, rest = _dcd_header(path, n, size)
    elif kind == ".xtc" and n:
        file.seek(n - 1)
        try:
            file.read(n_frames=1)
        except RuntimeError:
            n, rest = n - 1, True
        try:
            file.read(n_frames=1)
        except RuntimeError:
            rest = True
        file.seek(0)
    if claimed is not None and claimed > n:
        return n, [
            f"'{path.name}' is incomplete: its header speaks of {claimed:,} frames, and it holds "
            f"{n:,} whole ones, which are judged."
        ]
    return n, [_cut_short(path, n)] if rest else []


def _cut_short(path: Path, n: int) -> str:
    return (
        f"'{path.name}' is incomplete: it ends within a frame, and the {n:,} whole ones before are "
        "judged."
    )


def rest_of_text(path: Path, read: mdtraj.Trajectory) -> list[str]:
    """Return a note if a text file goes on after the frames that mdtraj read without a word."""
    kind, atoms = format_of(path), read.n_atoms
    if kind == ".lammpstrj":
        title, frame = 0, 9 + atoms
    elif kind in (".mdcrd", ".crd"):
        title, frame = 1, -(-3 * atoms // 10) + (read.unitcell_lengths is not None)
    else:
        return []
    with open(path, "rb") as file:
        lines = sum(1 for line in file if line.strip())
    return [_cut_short(path, read.n_frames)] if lines > title + frame * read.n_frames else []


def _trr_frames(path: Path, size: int) -> tuple[int, bool]:
    """Return how many whole frames a TRR file holds, and whether bytes are left over."""
    n, start = 0, 0
    with open(path, "rb") as file:
        while start < size:
            file.seek(start)
            head = file.read(100)
            if len(head) < 100:
                return n, True
            length = struct.unpack(">i", head[8:12])[0]
            end = 12 + 4 * ((length + 3) // 4) + 52
            sizes = struct.unpack(">13i", head[end - 52 : end])
            # Positions, velocities or forces tell the precision, which time and lambda have too.
            width = max(sizes[7:10]) // (3 * max(1, sizes[10])) or 4
            start += end + 2 * width + sum(sizes[:10])
            if start > size:
                return n, True
            n += 1
    return n, False


def _dcd_header(path: Path, n: int, size: int) -> tuple[int | None, bool]:
    """Return how many frames a DCD's header speaks of, and whether bytes are left over."""
    with open(path, "rb") as file:
        head = file.read(96)
        order = "<" if head[:4] == struct.pack("<i", 84) else ">"
        if len(head) < 96 or struct.unpack(f"{order}i", head[:4])[0] != 84:
            return None, False  # of 64 bits, which no program of today writes
        control = struct.unpack(f"{order}20i", head[8:88])
        title = struct.unpack(f"{order}i", head[92:96])[0]
        start = 92 + title + 8
        file.seek(start + 4)
        atoms = struct.unpack(f"{order}i", file.read(4))[0]
    fixed, cell, fourth = control[8], control[10], control[11]
    if fixed or fourth:
        return control[0], False
    frame = 3 * (4 * atoms + 8) + (56 if cell else 0)
    return control[0], size - (start + 12) > n * frame
