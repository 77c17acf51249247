"""The parts of a study, each kept on disk as soon as it is done."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np

import molflow
from molflow.analysis.molecule.superposition import paired_rmsd
from molflow.analysis.reference import Reference
from molflow.comparison import compare
from molflow.files import read_json, writable_folder, write_json
from molflow.sampling.ensemble import sample
from molflow.step_study.summary import figures
from molflow.training.checkpoint import Checkpoint

#: Path seed and size of the comparison on shared paths, and its finest number of steps.
SAME_PATH_SEED, SAME_PATH_N, FINEST = 100, 512, 64


class Pieces:
    """Results by (steps, path seed) in a folder, made when they are asked for.

    Parameters
    ----------
    folder : Path
    checkpoint : Checkpoint
    reference : str or Path
        As `molflow.compare` takes it.
    truth : Reference
        The same, loaded.
    n : int
        Samples a piece.
    """

    def __init__(
        self, folder: Path, checkpoint: Checkpoint, reference: str | Path, truth: Reference, n: int,
    ):  # fmt: skip
        self.folder = writable_folder(folder)
        self.checkpoint, self.reference, self.truth, self.n = checkpoint, reference, truth, n
        self._finest = None

    def score(self, steps: int, path_seed: int) -> dict:
        """Return ``figures`` of one ensemble and the ``seconds`` that sampling it took."""

        def make() -> dict:
            start = time.perf_counter()
            trajectory = sample(
                self.checkpoint, steps=steps, n=self.n, path_seed=path_seed, progress=False
            )
            seconds = time.perf_counter() - start
            return {"figures": figures(compare(trajectory, self.reference)), "seconds": seconds}

        return self._kept(f"steps-{steps:04d}-seed-{path_seed}", {"n": self.n}, make)

    def same_path(self, steps: int) -> dict:
        """Return heavy-atom RMSD (nm) to the sample of the same path in `FINEST` steps.

        ``mean`` and ``median`` over paths, and ``unrelated``: both for samples of two paths.
        """

        def make() -> dict:
            topology = self.checkpoint.topology()
            fine = self._fine()
            own = paired_rmsd(self._shared_paths(steps), fine, topology)
            unrelated = paired_rmsd(fine[::-1], fine, topology)
            return {**_middle(own), "unrelated": _middle(unrelated)}

        return self._kept(f"same-path-{steps:04d}", {"n": SAME_PATH_N, "finest": FINEST}, make)

    def _shared_paths(self, steps: int):
        return sample(
            self.checkpoint, steps=steps, n=SAME_PATH_N, path_seed=SAME_PATH_SEED, progress=False
        ).xyz

    def _fine(self):
        if self._finest is None:
            self._finest = self._shared_paths(FINEST)
        return self._finest

    def _kept(self, name: str, size: dict, make) -> dict:
        """Return the stored piece if it is of this very request, otherwise make and store it."""
        path = self.folder / f"{name}.json"
        request = {
            **size,
            "weights_sha256": self.checkpoint.weights_hash,
            "reference_sha256": _digest(self.truth),
            "molflow": molflow.__version__,
        }
        if path.is_file():
            stored = read_json(path)
            if isinstance(stored, dict) and stored.get("request") == request:
                return stored["piece"]
        piece = make()
        write_json(path, {"request": request, "piece": piece})
        return piece


def _middle(values) -> dict:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"mean": None, "median": None}
    return {"mean": float(finite.mean()), "median": float(np.median(finite))}


def _digest(truth: Reference) -> str:
    """Return what tells one reference from another: its numbers and which runs are held out."""
    digest = hashlib.sha256(f"{truth.ensemble_hash}{truth.held_out_runs}".encode())
    for values in (truth.torsions, truth.energies, truth.replica, truth.positions):
        digest.update(b"" if values is None else values.tobytes())
    return digest.hexdigest()
