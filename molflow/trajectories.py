"""Trajectory files by extension, the same bytes for the same frames (HDF5 notes the time)."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from molflow.errors import MolflowError
from molflow.files import ascii_path, check_hdf5, check_name, replacing

#: CHARMM's unit of time in ps, in which a DCD file gives the time between frames.
_AKMA = 0.04888821
#: The file beside trajectories that names their atoms.
TOPOLOGY = "topology.pdb"
#: Numbers of positions that are in memory at once while much is written.
PIECE = 1 << 22
#: Formats that `write_trajectory` knows.
EXTENSIONS = (".dcd", ".h5", ".xtc", ".pdb")


def check_extension(path: str | Path) -> Path:
    """Return the path.

    Raises
    ------
    MolflowError
        If its extension is not one of `EXTENSIONS`, it is HDF5 without PyTables, or it is a folder
        or has too long a name.
    """
    path = check_name(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise MolflowError(
            f"the extension of '{path}' is '{path.suffix}': choose one of {', '.join(EXTENSIONS)}."
        )
    check_hdf5(path)
    return path


def write_trajectory(
    path: str | Path, positions: np.ndarray | Iterable[np.ndarray], topology
) -> None:
    """Write frames atomically in the format that the extension names.

    Parameters
    ----------
    path : path
        ``.dcd``, ``.h5``, ``.xtc`` (rounds to 0.001 nm) or ``.pdb`` (one model per frame).
    positions : ndarray, (frames, atoms, 3), or iterable of such
        nm; of pieces one at a time is in memory.
    topology : mdtraj.Topology

    Raises
    ------
    MolflowError
        If the extension is unknown, or the format cannot hold the positions (PDB: not finite).
    """
    import mdtraj

    path = check_extension(path)
    pieces = in_pieces(positions) if isinstance(positions, np.ndarray) else positions
    with replacing(path) as temporary:
        try:
            with ascii_path(temporary) as plain, mdtraj.open(str(plain), "w") as file:
                _write_pieces(file, pieces, topology)
        except ValueError as error:
            raise MolflowError(
                f"'{path}' cannot hold these positions ({error}): choose .dcd."
            ) from error
        if path.suffix.lower() == ".dcd":
            finish_dcd(temporary, 1.0)


def read_trajectory(path: Path, topology):
    """Return a trajectory that `write_trajectory` wrote, with a topology for formats without."""
    import mdtraj

    bare = {"top": topology} if path.suffix.lower() in (".dcd", ".xtc") else {}
    with ascii_path(path) as plain:
        return mdtraj.load(str(plain), **bare)


def in_pieces(positions: np.ndarray) -> Iterator[np.ndarray]:
    """Yield frames (frames, atoms, 3) in pieces of at most `PIECE` numbers."""
    at_once = frames_at_once(positions.shape[1])
    for first in range(0, len(positions), at_once):
        yield positions[first : first + at_once]


def frames_at_once(n_atoms: int) -> int:
    """Return how many frames have `PIECE` numbers."""
    return max(1, PIECE // (3 * n_atoms))


def _write_pieces(file, pieces: Iterable[np.ndarray], topology) -> None:
    """Write frames numbered from 0 to an open file of mdtraj."""
    scale, first = 10.0 if file.distance_unit == "angstroms" else 1.0, 0
    kind = type(file).__name__
    for piece in pieces:
        positions = np.asarray(piece, np.float32)
        times = np.arange(first, first + len(piece), dtype=np.float32)
        if kind == "PDBTrajectoryFile":
            for k, frame in enumerate(scale * positions, start=first):
                file.write(frame, topology, modelIndex=k)
        elif kind == "DCDTrajectoryFile":
            file.write(scale * positions)
        elif kind == "XTCTrajectoryFile":
            file.write(positions, time=times, step=np.arange(first, first + len(piece)))
        else:
            file.write(positions, time=times)
        first += len(piece)
    if kind == "HDF5TrajectoryFile":
        file.topology = topology


def check_topology(out: Path, topology) -> None:
    """Make sure that the topology beside a file, if there is one, is of the same atoms.

    Parameters
    ----------
    out : Path
        A trajectory that is to be written.
    topology : mdtraj.Topology

    Raises
    ------
    MolflowError
        If ``topology.pdb`` beside it is of others, or cannot be read.
    """
    import mdtraj

    beside = out.with_name(TOPOLOGY)
    if not beside.exists():
        return
    try:
        same = _identity(mdtraj.load_topology(str(beside))) == _identity(topology)
    except Exception:  # of whatever kind a file of unknown contents provokes
        same = False
    if not same:
        raise MolflowError(
            f"'{beside}' is there and is not of the atoms of '{out.name}', which would need a file "
            "of that name: choose another folder."
        )


def write_topology(out: Path, source: Path) -> None:
    """Write ``topology.pdb`` beside a file; one that is there is left as it is."""
    beside = out.with_name(TOPOLOGY)
    if not beside.exists():
        with replacing(beside) as temporary:
            shutil.copyfile(source, temporary)


def _identity(topology) -> list[tuple]:
    """Return what tells atoms of one topology from those of another, in their order."""
    return [
        (atom.name, atom.element.symbol, atom.residue.index, atom.residue.name)
        for atom in topology.atoms
    ]


def finish_dcd(path: Path, frame_interval: float) -> None:
    """Set a DCD's time between frames (ps) and replace the date of writing by a fixed remark."""
    remark = b"REMARKS written by molflow".ljust(80, b"\0")
    with open(path, "r+b") as file:
        file.seek(44)
        file.write(struct.pack("<f", frame_interval / _AKMA))
        file.seek(180)
        file.write(remark)
