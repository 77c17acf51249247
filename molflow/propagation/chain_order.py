"""Frames of many chains that came together in time, put one chain after the other on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from molflow.files import Streamed, read_arrays
from molflow.propagation.chains import SEGMENT
from molflow.propagation.run import Run
from molflow.trajectories import frames_at_once


class ChainOrder:
    """An array of all frames of the whole chains of a run, in a file.

    Memory holds a segment of the run, and later a piece of the file, whatever their number.

    Parameters
    ----------
    run : Run
        Finished.
    name : str
        Of an array of its segments, (frames, chains, n_atoms, 3).
    n_atoms : int
    """

    def __init__(self, run: Run, name: str, n_atoms: int):
        self.path: Path = run.parts / f"{name}.raw"
        frames, whole = run.request.frames, run.whole
        self.shape = (len(whole) * frames, n_atoms, 3)
        self._bytes = 4 * 3 * n_atoms
        places = {chain: place for place, chain in enumerate(whole.tolist())}
        with open(self.path, "wb") as file:
            for group in run.groups:
                for index, segment in enumerate(group.segments):
                    values = read_arrays(segment)[name].astype(np.float32)
                    for column, chain in enumerate(group.chains):
                        if chain in places:
                            first = places[chain] * frames + index * SEGMENT
                            file.seek(first * self._bytes)
                            file.write(np.ascontiguousarray(values[:, column]).tobytes())

    def __len__(self) -> int:
        return self.shape[0]

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield the frames in order, some at once."""
        at_once = frames_at_once(self.shape[1]) * self._bytes
        with open(self.path, "rb") as file:
            while content := file.read(at_once):
                yield self._frames(content)

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Return some frames, (len(chosen), n_atoms, 3)."""
        found = []
        with open(self.path, "rb") as file:
            for row in chosen.tolist():
                file.seek(row * self._bytes)
                found.append(file.read(self._bytes))
        return self._frames(b"".join(found))

    def streamed(self) -> Streamed:
        """Return the array as `write_arrays` takes it."""
        return Streamed(self.shape, np.dtype(np.float32), self.pieces())

    def _frames(self, content: bytes) -> np.ndarray:
        return np.frombuffer(content, np.float32).reshape(-1, *self.shape[1:])
