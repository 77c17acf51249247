"""Training sets on disk: what `prepare` writes and training reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.bonded_terms import BondedTerms
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, reader

#: Names of files of a training set for dynamics, and of its hotter frames.
FORCES, HOT = "{}_forces.npz", "hot"
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
    train_log_weights, validation_log_weights : ndarray, shape (n,), float64, or None
        Natural logarithms of the weights of the frames up to a common constant, as of a simulation
        under a bias; None for equal weights.
    """

    manifest: dict
    train: np.ndarray
    validation: np.ndarray
    folder: Path
    train_log_weights: np.ndarray | None = None
    validation_log_weights: np.ndarray | None = None

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


@reader
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
    arrays, weights = {}, {}
    for name in ("train", "validation"):
        stored = read_arrays(folder / f"{name}.npz")
        shape = (manifest["frames"].get(name), manifest["n_atoms"], 3)
        if "positions" not in stored or stored["positions"].shape != shape:
            raise MolflowError(
                f"'{folder / name}.npz' does not hold positions of the shape {shape}, as the "
                "manifest says: make the training set again with molflow prepare."
            )
        arrays[name] = stored["positions"]
        if "log_weights" in stored:
            weights[name] = stored["log_weights"]
    hashes = {"train": manifest["data_hash"], "validation": manifest["validation_hash"]}
    found = {name: data_hash(array) for name, array in weights.items()}
    if {name: data_hash(array) for name, array in arrays.items()} != hashes or found != (
        manifest.get("weights_sha256", {})
    ):
        raise MolflowError(
            f"the arrays of the training set '{folder}' are not those of its manifest (their hash "
            "differs): make it again with molflow prepare."
        )
    logarithms = {f"{name}_log_weights": array for name, array in weights.items()}
    return TrainingData(manifest=manifest, folder=folder, **arrays, **logarithms)


@dataclass(frozen=True)
class ForceData:
    """Positions with forces, both (n, n_atoms, 3) float32 in nm and kJ/mol/nm.

    Attributes
    ----------
    masses : ndarray, (n_atoms,)
        amu.
    train, validation : tuple of ndarray
        Positions and forces at the temperature of the system.
    hot : tuple of ndarray
        The same at a higher one; may be empty.
    bonded : BondedTerms, optional
        Of the force field; sets of earlier versions do not name them.
    """

    masses: np.ndarray
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    hot: tuple[np.ndarray, np.ndarray]
    bonded: BondedTerms | None = None


@reader
def load_forces(data: TrainingData) -> ForceData:
    """Read and check the forces that belong to a training set.

    Raises
    ------
    MolflowError
        If there are none, or they are damaged or of other frames.
    """
    stored = data.manifest.get("dynamics")
    if stored is None:
        raise MolflowError(
            f"the training set '{data.folder}' has no forces, which a map of dynamics learns from: "
            "make it again with molflow prepare --forces."
        )
    sets: dict[str, np.ndarray | None] = {"train": data.train, "validation": data.validation}
    hot = np.empty((0, *data.train.shape[1:]), dtype=np.float32)
    found = {HOT: (hot, hot)}
    if stored["hot_frames"]:
        sets[HOT] = None
    for name, positions in sets.items():
        path = data.folder / (f"{HOT}.npz" if name == HOT else FORCES.format(name))
        arrays = read_arrays(path)
        positions = arrays.get("positions") if name == HOT else positions
        forces = arrays.get("forces", np.empty(0))
        known = data_hash(forces) == stored["forces_sha256"].get(name)
        if positions is None or positions.shape != forces.shape or not known:
            raise MolflowError(
                f"'{path}' does not hold the forces that the manifest speaks of: make the training "
                "set again with molflow prepare --forces."
            )
        found[name] = positions, forces
    bonded = stored.get("bonded")
    return ForceData(
        masses=np.array(stored["masses"]),
        bonded=None if bonded is None else BondedTerms.from_dict(bonded),
        **found,
    )
