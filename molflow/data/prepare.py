"""From a simulation to a training set with split and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molflow.analysis.weighting import effective_size, mean, normalised
from molflow.data.dataset import data_hash
from molflow.data.enough import of_frames
from molflow.data.simulation import SimulationFolder, open_simulation
from molflow.data.split import split_runs
from molflow.errors import MolflowError
from molflow.files import read_json, writable_folder, write_arrays, write_json
from molflow.systems import MolecularSystem, load_system


def centred(positions: np.ndarray) -> np.ndarray:
    """Return positions (n, n_atoms, 3) with the mean of the atoms removed, float32."""
    positions = np.asarray(positions, dtype=np.float64)
    return (positions - positions.mean(axis=1, keepdims=True)).astype(np.float32)


def prepare(
    simulation_folder: str | Path,
    out: str | Path,
    system: str | Path | MolecularSystem | None = None,
    train: Sequence[int] | None = None,
    validation: Sequence[int] | None = None,
) -> dict:
    """Write a training set: ``manifest.json``, ``train.npz`` and ``validation.npz``.

    Parameters
    ----------
    simulation_folder : str or Path
        That `simulate` finished.
    out : str or Path
        Folder of the training set.
    system : str, Path or MolecularSystem, optional
        ``"alanine_dipeptide:heavy"`` keeps the atoms of a selection, which are centred after they
        are chosen. By default all atoms of what was simulated.
    train, validation : sequence of int, optional
        Whole runs, see `split_runs`. The runs in neither are held out for scoring: no frame of
        theirs is written.

    Returns
    -------
    dict
        The content of ``manifest.json``. ``scale`` is the root mean square of the centred
        training coordinates over frames, atoms and components, nm; that of weighted frames, whose
        ``log_weights`` the two files have beside the positions, by their weights.

    Raises
    ------
    MolflowError
        If the simulation is unfinished or damaged, the split or the system does not fit it, or
        `out` holds another training set.
    """
    source = open_simulation(simulation_folder)
    label, place, atoms = _kept_atoms(source, system)
    split = split_runs(len(source.runs), train, validation)
    arrays = {
        name: np.concatenate(
            [np.empty((0, len(atoms), 3), dtype=np.float32)]
            + [centred(source.trajectory(run).xyz[:, atoms]) for run in runs]
        )
        for name, runs in (("train", split.train), ("validation", split.validation))
    }
    weights = {
        name: _log_weights(source, runs)
        for name, runs in (("train", split.train), ("validation", split.validation))
    }
    for name, positions in arrays.items():
        if not np.isfinite(positions).all():
            raise MolflowError(f"the {name} runs of '{simulation_folder}' are not finite.")
    manifest = {
        "system": label,
        "system_path": place,
        "ensemble": source.manifest["ensemble"],
        "ensemble_hash": source.manifest["ensemble_hash"],
        "temperature": source.manifest["temperature"],
        "frame_interval_ps": source.manifest["frame_interval_ps"],
        "split": split.as_lists(),
        "frames": {name: len(positions) for name, positions in arrays.items()},
        "n_atoms": len(atoms),
        "atoms": [int(index) for index in atoms],
        "scale": _scale(arrays["train"], weights["train"]),
        "data_hash": data_hash(arrays["train"]),
        "validation_hash": data_hash(arrays["validation"]),
        "source": source.manifest,
        "source_path": str(source.folder.resolve()),
    }
    worth = {
        name: round(effective_size(len(positions), normalised(weights[name])))
        for name, positions in arrays.items()
    }
    rest = sum(len(source.arrays(run)["times"]) for run in split.held_out)
    manifest["lacks"] = of_frames(worth | {"held_out": rest})
    if weights["train"] is not None:
        manifest["weights_sha256"] = {
            name: data_hash(array) for name, array in weights.items() if array is not None
        }
    out = writable_folder(out)
    path = out / "manifest.json"
    if path.exists() and not _same_data(read_json(path), manifest):
        raise MolflowError(
            f"'{out}' holds another training set: remove it or choose another folder."
        )
    for name, positions in arrays.items():
        own = weights[name]
        weighted = {} if own is None else {"log_weights": own}
        write_arrays(out / f"{name}.npz", positions=positions, **weighted)
    write_json(path, manifest)
    return manifest


def _same_data(stored: dict, manifest: dict) -> bool:
    keys = ("data_hash", "validation_hash", "weights_sha256")
    return all(stored.get(key) == manifest.get(key) for key in keys)


def _log_weights(source: SimulationFolder, runs: Sequence[int]) -> np.ndarray | None:
    """Return the logarithms of the weights of all frames of some runs, None for equal weights."""
    if not source.weighted:
        return None
    return np.concatenate([np.empty(0), *(source.arrays(run)["log_weights"] for run in runs)])


def _scale(positions: np.ndarray, log_weights: np.ndarray | None) -> float:
    squares = np.mean(positions.astype(np.float64) ** 2, axis=(1, 2))
    return float(np.sqrt(mean(squares, normalised(log_weights))))


def _kept_atoms(source: SimulationFolder, system) -> tuple[str, str | None, np.ndarray]:
    everything = np.arange(source.topology.n_atoms)
    if system is None:
        return source.manifest["system"], source.manifest.get("system_path"), everything
    if not isinstance(system, MolecularSystem):
        system = load_system(system)
    if system.ensemble_hash != source.manifest["ensemble_hash"]:
        raise MolflowError(
            f"'{source.folder}' is a simulation of '{source.manifest['system']}' with the ensemble "
            f"{source.manifest['ensemble_hash']}, but the system '{system.label}' has "
            f"{system.ensemble_hash}: the molecule, force field or state differs; choose the "
            "system that was simulated."
        )
    atoms = everything if system.atoms is None else np.asarray(system.atoms)
    return system.label, system.record["system_path"], atoms
