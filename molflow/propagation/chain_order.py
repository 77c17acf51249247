"""Frames of many chains that came together in time, put one chain after the other on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from molflow.files import Streamed, read_arrays
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
    """

    def __init__(self, run: Run, name: str):
        self.path: Path = run.parts / f"{name}.raw"
        chains, frames = run.whole, run.request.frames
        self.shape = (len(chains) * frames, len(run.masses), 3)
        self._bytes = 4 * 3 * len(run.masses)
        with open(self.path, "wb") as file:
            first = 0
            for segment in run.segments:
                values = read_arrays(segment)[name][:, chains].astype(np.float32)
                for place, chain in enumerate(values.swapaxes(0, 1)):
                    file.seek((place * frames + first) * self._bytes)
                    file.write(np.ascontiguousarray(chain).tobytes())
                first += len(values)

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
