"""Trajectory files whose readers in C a damaged file can crash, read in a process of their own."""

from __future__ import annotations

import atexit
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import mdtraj
import numpy as np

from molflow.errors import MolflowError

#: Formats that are read so.
FRAGILE = (".xtc", ".trr", ".h5", ".hdf5", ".lh5")
#: Seconds of its processor that the other process has for anything, and bytes for one more.
_PATIENCE, _SPEED = 8, 500_000
#: Bytes of memory that it has, and more of them for each of the file.
_MEMORY, _LARGER = 4 << 30, 40
#: Seconds after which the other process ends if nothing is asked, and how many wait so.
_IDLE, _MOST_IDLE = 60, 4
#: What the other process runs: the modules of this one, wherever they are.
_PROGRAM = "import sys; sys.path[:] = {}; from {} import serve; serve(sys.argv[1])"


class DecodedFile:
    """A file in another process, with those methods of mdtraj's files that are used here.

    Parameters
    ----------
    plain, path : Path
        By which mdtraj can open it, and of which errors speak.

    Raises
    ------
    MolflowError
        From any method, if the file ends that process or keeps it for too long.
    RuntimeError
        From any method, with what mdtraj says.
    """

    def __init__(self, plain: Path, path: Path):
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(sys.path, __name__), str(plain)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        """End the other process."""
        self._process.kill()
        self._process.communicate()

    def release(self) -> None:
        """Close the file, which others may want to write; the process stays."""
        self._ask("release")

    def open_again(self, plain: Path) -> None:
        """Open the file anew in the same process, with all its patience."""
        self._ask("open", str(plain))

    def __len__(self) -> int:
        return self._ask("count")["count"]

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        self._ask("seek", frame)

    def read(self, n_frames: int) -> np.ndarray:
        """Return the positions of the next frames, (frames, atoms, 3), nm."""
        return self._ask("next", n_frames)["xyz"]

    def read_as_traj(
        self, topology: mdtraj.Topology | None = None, n_frames: int = 1
    ) -> mdtraj.Trajectory:
        """Return the next frames, of this topology or of the file's own."""
        found = self._ask("next", n_frames)
        made = mdtraj.Trajectory(found["xyz"], topology or self.topology, found["time"])
        if "box" in found:
            made.unitcell_vectors = found["box"]
        elif "lengths" in found:
            made.unitcell_lengths, made.unitcell_angles = found["lengths"], found["angles"]
        return made

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """The topology that the file holds."""
        return _built(self._ask("topology"))

    def array(self, name: str) -> np.ndarray | None:
        """Return an array at the root of an HDF5 file, None if there is none of this name."""
        return self._ask("array", name).get("array")

    def _ask(self, *question: object) -> dict[str, Any]:
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        try:
            pipes[0].write(json.dumps(question).encode() + b"\n")
            pipes[0].flush()
            found = _received(pipes[1])
        except (EOFError, BrokenPipeError):
            raise self._crash() from None
        if "error" in found:
            raise RuntimeError(found["error"])
        return found

    def _crash(self) -> MolflowError:
        status = self._process.wait()
        if status == -getattr(signal, "SIGXCPU", 0):
            return MolflowError(
                f"the trajectory '{self.path}' is damaged: its reader comes to no end."
            )
        return MolflowError(
            f"the trajectory '{self.path}' is damaged: it ends the process that reads it (status "
            f"{status})."
        )


#: Processes that wait, by process that asks and file, in the order of their use.
_idle: dict[tuple, DecodedFile] = {}


@contextmanager
def decoded(plain: Path, path: Path) -> Iterator[DecodedFile]:
    """Yield a file in another process: the one that has read it already, if it waits.

    Parameters
    ----------
    plain, path : Path
        As `DecodedFile` has them.
    """
    found = path.stat()
    key = (
        os.getpid(), _PROGRAM, str(path.absolute()), found.st_dev, found.st_ino, found.st_size,
        found.st_mtime_ns,
    )  # fmt: skip
    file = _idle.pop(key, None)
    if file is not None:
        try:
            file.open_again(plain)
        except (MolflowError, RuntimeError):  # it has waited too long
            file.close()
            file = None
    if file is None:
        file = DecodedFile(plain, path)
    try:
        yield file
    except GeneratorExit:  # whoever read in pieces has enough
        _keep(key, file)
        raise
    except BaseException:
        file.close()
        raise
    _keep(key, file)


def _keep(key: tuple, file: DecodedFile) -> None:
    try:
        file.release()
    except (MolflowError, RuntimeError):
        file.close()
        return
    close_idle([key])
    _idle[key] = file
    close_idle(list(_idle)[:-_MOST_IDLE])


def close_idle(keys: Iterable[tuple] | None = None) -> None:
    """End the processes that wait for another question, or some of them."""
    for key in list(_idle) if keys is None else keys:
        file = _idle.pop(key, None)
        if file is not None and key[0] == os.getpid():  # a copy of that process has no say
            file.close()


atexit.register(close_idle)


def serve(path: str) -> None:
    """Be the other process: answer questions on standard input about a file until they end."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what readers in C print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asks hears it
    pickle.loads = _refuse  # which HDF5 attributes would reach, and with them any program
    warnings.simplefilter("ignore")
    file: Any = None
    _limit(os.path.getsize(path))
    while line := _question():
        try:
            what, *arguments = json.loads(line)
            if what in ("open", "release") and file is not None:
                file, closing = None, file
                closing.close()
            if what == "open":
                (path,) = arguments
                _limit(os.path.getsize(path))
            if file is None and what != "release":
                file = mdtraj.open(path)
            found = {} if what in ("open", "release") else _answer(file, what, *arguments)
        except Exception as error:  # the readers of mdtraj raise all kinds
            found = {"error": " ".join(f"{error}".split()) or type(error).__name__}
        _send(pipe, found)


def _question() -> str:
    """Return the next line of standard input, or end this process if there is none for long."""
    if hasattr(signal, "alarm"):
        signal.alarm(_IDLE)
    line = sys.stdin.readline()
    if hasattr(signal, "alarm"):
        signal.alarm(0)
    return line


def _refuse(*_: object, **__: object) -> None:
    raise ValueError("pickled objects are not read")


def _limit(size: int) -> None:
    if sys.platform == "linux":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = math.ceil(used.ru_utime + used.ru_stime) + _PATIENCE + size // _SPEED
        memory = _MEMORY + _LARGER * size
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = seconds if most == resource.RLIM_INFINITY else min(seconds, most)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, most))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(file, what: str, *arguments) -> dict[str, Any]:
    if what == "count":
        return {"count": len(file)}
    if what == "seek":
        file.seek(*arguments)
        return {}
    if what == "topology":
        return _taken_apart(file.topology)
    if what == "array":
        (name,) = arguments
        return {"array": np.asarray(file.root[name][:])} if name in file.root else {}
    (n_frames,) = arguments
    if isinstance(file, (mdtraj.formats.XTCTrajectoryFile, mdtraj.formats.TRRTrajectoryFile)):
        xyz, time, _, box, *_ = file.read(n_frames=n_frames)
        return {"xyz": xyz, "time": time, "box": box}
    part = file.read_as_traj(n_frames=n_frames)
    found = {"xyz": part.xyz, "time": part.time}
    if part.unitcell_lengths is not None:
        found |= {"lengths": part.unitcell_lengths, "angles": part.unitcell_angles}
    return found


def _send(pipe: IO[bytes], found: dict[str, Any]) -> None:
    """Write numbers and words as a line of JSON, and after it the bytes of arrays."""
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    words = {name: value for name, value in found.items() if name not in arrays}
    shapes = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    pipe.write(json.dumps([words, shapes]).encode() + b"\n")
    for array in arrays.values():
        pipe.write(array.tobytes())
    pipe.flush()


def _received(pipe: IO[bytes]) -> dict[str, Any]:
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    found, shapes = json.loads(line)
    for name, (kind, shape) in shapes.items():
        size = np.dtype(kind).itemsize * math.prod(shape)
        data = bytearray(pipe.read(size))
        if len(data) < size:
            raise EOFError
        found[name] = np.frombuffer(data, kind).reshape(shape)
    return found


def _taken_apart(topology: mdtraj.Topology) -> dict[str, Any]:
    """Return what a topology is made of, as JSON can say it."""
    atoms = [
        (a.name, a.element.symbol, a.serial, a.formal_charge, a.residue.index)
        for a in topology.atoms
    ]
    residues = [(r.name, r.resSeq, r.segment_id, r.chain.index) for r in topology.residues]
    bonds = [
        (bond.atom1.index, bond.atom2.index, bond.type and float(bond.type), bond.order)
        for bond in topology.bonds
    ]
    chains = [chain.chain_id for chain in topology.chains]
    return {"atoms": atoms, "residues": residues, "bonds": bonds, "chains": chains}


def _built(parts: dict[str, Any]) -> mdtraj.Topology:
    """Return the topology that was taken apart."""
    from mdtraj.core.element import get_by_symbol
    from mdtraj.core.topology import float_to_bond_type

    made = mdtraj.Topology()
    chains = [made.add_chain(name) for name in parts["chains"]]
    residues = [
        made.add_residue(name, chains[chain], number, segment)
        for name, number, segment, chain in parts["residues"]
    ]
    for name, symbol, serial, charge, residue in parts["atoms"]:
        made.add_atom(name, get_by_symbol(symbol), residues[residue], serial, charge)
    for first, second, kind, order in parts["bonds"]:
        atoms = made.atom(first), made.atom(second)
        made.add_bond(*atoms, type=float_to_bond_type(kind), order=order)
    return made
