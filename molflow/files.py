"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from molflow.errors import MolflowError

P = ParamSpec("P")
R = TypeVar("R")
#: Bytes that a name may have, and what is added to it while a file is written.
_LONGEST_NAME, _ADDED = 255, 32


def check_name(path: str | Path, what: str = "out") -> Path:
    """Return the path of a file that is to be written, before any work is done for it.

    Raises
    ------
    MolflowError
        If it is a folder, or its name is too long for what is written beside it for a while.
    """
    path = Path(path)
    if path.is_dir():
        raise MolflowError(f"{what} is '{path}', which is a folder: give the name of a file.")
    check_length(path)
    return path


def check_length(path: Path) -> None:
    """Raise `MolflowError` if a name is too long for what is written beside it for a while."""
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME - _ADDED:
        raise MolflowError(
            f"the name '{path.name[:40]}...' has {length} bytes: give one of at most "
            f"{_LONGEST_NAME - _ADDED}."
        )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix that replaces `path` if the body succeeds."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        _settle(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _settle(path: Path) -> None:
    """Have the disk hold a file, so that a power cut leaves no name without its contents."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def ascii_path(path: Path) -> Iterator[Path]:
    """Yield a path of plain letters to a file that is there or is to be written.

    mdtraj's readers and writers of XTC, TRR and DCD take no others, and no extension in capitals.
    Where the path has such, it is a link in a folder for temporary files.
    """
    kind = "".join(path.suffixes[-2:])
    if str(path).isascii() and kind == kind.lower():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="molflow-") as folder:
        link = Path(folder) / f"file{kind.lower()}"
        link.symlink_to(path.absolute())
        yield link


def writable_folder(path: str | Path) -> Path:
    """Create the folder if need be and make sure that files can be written in it.

    Raises
    ------
    MolflowError
        If it cannot be created or written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MolflowError(
            f"cannot write in the folder '{path}' ({error.strerror or error}): "
            "choose a folder that you may write to."
        ) from error
    return path


def check_hdf5(path: str | Path) -> None:
    """Make sure that HDF5 can be read and written if a path is of that format.

    Raises
    ------
    MolflowError
        If it is, and the package that mdtraj does so with is not installed.
    """
    if Path(path).suffix.lower() in (".h5", ".hdf5", ".lh5") and find_spec("tables") is None:
        raise MolflowError(
            f"'{path}' is HDF5, which needs the package tables: pip install 'molflow[hdf5]', or "
            "choose another format."
        )


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path):
    """Read JSON.

    Raises
    ------
    MolflowError
        If the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MolflowError(f"cannot read '{path}' ({error.strerror}).") from error
    except RecursionError as error:
        raise MolflowError(f"'{path}' is damaged: it is nested too deep.") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise MolflowError(f"'{path}' is damaged: it is not JSON ({error}).") from error


def reader(function: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Make a sentence of what a reader stumbles over in a file that is not what it should be.

    Its first argument is the path, or has the path as ``folder``.
    """

    @functools.wraps(function)
    def read(source: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(source, *args, **kwargs)
        except MolflowError:
            raise
        except Exception as error:  # libraries raise all kinds of what is garbled
            path = getattr(source, "folder", source)
            words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise MolflowError(
                f"'{path}' is damaged, or was not made for this ({words}): make it again."
            ) from error

    return read


@dataclass(frozen=True)
class Streamed:
    """An array that is written without being in memory as a whole.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    pieces : iterable of ndarray
        What follows each other along the first axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Iterable[np.ndarray]


def write_arrays(path: str | Path, **arrays: np.ndarray | Streamed) -> None:
    """Write named arrays atomically as a compressed ``.npz``."""
    plain = {name: value for name, value in arrays.items() if not isinstance(value, Streamed)}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **plain)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            for name, value in arrays.items():
                if not isinstance(value, Streamed):
                    continue
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    descr = np.lib.format.dtype_to_descr(np.dtype(value.dtype))
                    header = {"descr": descr, "fortran_order": False, "shape": value.shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    for piece in value.pieces:
                        file.write(np.ascontiguousarray(piece, value.dtype).tobytes())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz``, never unpickling.

    Raises
    ------
    MolflowError
        If the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise MolflowError(f"there is no file '{path}'.") from error
    except Exception as error:  # zipfile, zlib and numpy raise all kinds
        words = str(error) or type(error).__name__
        raise MolflowError(f"'{path}' is damaged or not an .npz file ({words}).") from error


@contextmanager
def alone_at(lock: Path, sentence: str) -> Iterator[None]:
    """Hold a lock, which the system lets go even when the process is killed.

    Parameters
    ----------
    lock : Path
        A file that is there only while the lock is held.
    sentence : str
        What to say if another process holds it.

    Raises
    ------
    MolflowError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    while True:
        file = open(lock, "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise MolflowError(sentence) from error
        # Whoever held it may have removed the file between its opening and its locking here.
        if lock.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            break
        file.close()
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who opened it looks again
        file.close()


def remove_leftovers(folder: Path, stem: str = "*") -> None:
    """Remove temporary files and folders that dead processes have left in a folder."""
    for path in folder.glob(f".{stem}.*.partial*"):
        number = path.name.rpartition(".partial")[0].rpartition(".")[2]
        if number.isdecimal() and int(number) != os.getpid() and not _runs(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with open(path, "rb") as file:  # in pieces: trajectories may be larger than memory
        return hashlib.file_digest(file, "sha256").hexdigest()
