"""Training sets on disk: what `prepare` writes and training reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json

_NEEDED = {
    "system",
    "ensemble",
    "ensemble_hash",
    "split",
    "frames",
    "n_atoms",
    "scale",
    "data_hash",
    "validation_hash",
}


@dataclass(frozen=True)
class TrainingData:
    """Centred positions and where they come from.

    Attributes
    ----------
    manifest : dict
        ``system``, ``ensemble``, ``ensemble_hash``, ``split`` (runs), ``frames``, ``n_atoms``,
        ``scale`` (nm), ``data_hash`` (of the training frames, which decide the weights),
        ``validation_hash``, ``source`` (the simulation's manifest) ...
    train, validation : ndarray, shape (n, n_atoms, 3), float32
        nm, the mean over the atoms removed from every frame. There may be no validation frames.
    """

    manifest: dict
    train: np.ndarray
    validation: np.ndarray

    @property
    def scale(self) -> float:
        """Standard deviation of the centred training coordinates in nm."""
        return self.manifest["scale"]


def data_hash(positions: np.ndarray) -> str:
    """Return the SHA-256 over shape, type and bytes of an array as hex."""
    positions = np.ascontiguousarray(positions)
    digest = hashlib.sha256(f"{positions.shape}{positions.dtype.str}".encode())
    digest.update(positions.tobytes())
    return digest.hexdigest()


def load_training_data(folder: str | Path) -> TrainingData:
    """Read and check a training set.

    Raises
    ------
    MolflowError
        If a file is missing or damaged, or the arrays are not those of the manifest.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise MolflowError(
            f"'{folder}' is not a training set (it has no manifest.json): "
            "make one with molflow prepare."
        )
    manifest = read_json(folder / "manifest.json")
    missing = _NEEDED - set(manifest) if isinstance(manifest, dict) else _NEEDED
    if missing:
        raise MolflowError(
            f"the manifest of the training set '{folder}' lacks {', '.join(sorted(missing))}: "
            "make it again with molflow prepare."
        )
    arrays = {}
    for name in ("train", "validation"):
        stored = read_arrays(folder / f"{name}.npz")
        shape = (manifest["frames"].get(name), manifest["n_atoms"], 3)
        if "positions" not in stored or stored["positions"].shape != shape:
            raise MolflowError(
                f"'{folder / name}.npz' does not hold positions of the shape {shape}, as the "
                "manifest says: make the training set again with molflow prepare."
            )
        arrays[name] = stored["positions"]
    hashes = {"train": manifest["data_hash"], "validation": manifest["validation_hash"]}
    if {name: data_hash(array) for name, array in arrays.items()} != hashes:
        raise MolflowError(
            f"the arrays of the training set '{folder}' are not those of its manifest (their hash "
            "differs): make it again with molflow prepare."
        )
    return TrainingData(manifest=manifest, **arrays)
