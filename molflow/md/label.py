"""`molflow label`: a training set of another energy function, from frames that are at hand."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np

from molflow.analysis.files.ensemble import read_ensemble
from molflow.data.dataset import HOT, data_hash, load_forces, load_training_data
from molflow.data.prepare import centred
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import read_json, writable_folder
from molflow.md.forces import free_masses
from molflow.md.labelled_set import LabelledFrames, write_labelled
from molflow.md.labels import label_frames
from molflow.parts import alone, claim_parts
from molflow.systems import MolecularSystem, load_system


@alone
def label(
    frames: str | Path,
    system: str | Path | MolecularSystem,
    out: str | Path,
    top: str | Path | None = None,
    jobs: Jobs = None,
    progress: bool = True,
) -> dict:
    """Write a training set for maps of dynamics whose forces are those of another system.

    The frames of a cheap surrogate are good enough to learn a dear potential's forces from, where
    they cover what it visits. What has no label is left out and counted by reason: an SCF that
    does not converge, a molecule that broke or reacted.

    Parameters
    ----------
    frames : str or Path
        A training set of `prepare`, whose split is kept (and its hot frames, if it has any), or a
        trajectory of all atoms, whose frames are all trained on.
    system : str, Path or MolecularSystem
        Under whose force field or potential.
    out : str or Path
        Folder of the labelled training set: what `prepare --forces` writes, with the ``energies``
        in kJ/mol beside the forces, and ``labels`` in the manifest.
    top : str or Path, optional
        Topology of a trajectory without one; by default ``topology.pdb`` beside it.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core.
        The labels do not depend on it.
    progress : bool

    Returns
    -------
    dict
        The content of ``manifest.json``.

    Raises
    ------
    MolflowError
        If the frames are not of the system's molecule, none of them can be labelled, or `out`
        holds something else.
    """
    if not isinstance(system, MolecularSystem):
        system = load_system(system)
    free_masses(system)
    sets, described = frames_of(Path(frames), system, top)
    plan = {
        "ensemble": system.ensemble,
        "frames": {name: data_hash(positions) for name, positions in sets.items()},
    }
    plan = json.loads(json.dumps(plan))  # as it comes back from a file
    out = Path(out)
    if (out / "manifest.json").exists():
        stored = read_json(out / "manifest.json")
        if stored.get("labels", {}).get("plan") == plan:
            return stored
        raise MolflowError(
            f"'{out}' holds another training set: remove it or choose another folder."
        )
    writable_folder(out)
    parts = claim_parts(out / "labels", plan)
    started = time.perf_counter()
    kept, failures = {}, {}
    for name, positions in sets.items():
        found = label_frames(system, positions, jobs, parts, name, progress)
        failures[name] = found.counted()
        if name == "train" and not found.good.any():
            reason = next(iter(failures[name]), "there are none")
            raise MolflowError(f"no frame of '{frames}' can be labelled: {reason}.")
        kept[name] = LabelledFrames(
            positions[found.good], found.forces[found.good], found.energies[found.good]
        )
    described |= {
        "plan": plan, "failures": failures, "seconds": round(time.perf_counter() - started, 1)
    }  # fmt: skip
    manifest = write_labelled(out, system, kept, **described)
    shutil.rmtree(parts)
    return manifest


def summary(manifest: dict) -> str:
    """Return what was labelled and what was not, in words."""
    labels = manifest["labels"]
    count = sum(manifest["frames"].values()) + manifest["dynamics"]["hot_frames"]
    lines = [f"{count} frames labelled under {_energy(manifest['ensemble'])}."]
    for name, reasons in labels["failures"].items():
        lines += [f"{number} of {name} left out: {reason}." for reason, number in reasons.items()]
    return "\n".join(lines)


def _energy(ensemble: dict) -> str:
    if (potential := ensemble.get("potential")) is not None:
        return f"{potential['name']} ({potential['version']})"
    return ", ".join(ensemble.get("forcefield") or ()) or "a serialised System"


def frames_of(
    path: Path, system: MolecularSystem, top: str | Path | None = None
) -> tuple[dict[str, np.ndarray], dict]:
    """Return the frames of a training set or trajectory by set, and what is said of them.

    Parameters
    ----------
    path : Path
    system : MolecularSystem
        Whose molecule it has to be.
    top : str or Path, optional
        Topology of a trajectory without one.

    Returns
    -------
    sets : dict
        ``train``, ``validation`` and perhaps ``hot``: centred positions (n, atoms, 3), nm.
    described : dict
        ``split``, ``hot_temperature`` and ``source``.

    Raises
    ------
    MolflowError
        If there is no such file or the frames are of another molecule.
    """
    atoms = system.topology().n_atoms
    if not path.exists():
        raise MolflowError(
            f"there is no '{path}': frames are a training set that molflow prepare wrote, or a "
            "trajectory with all atoms."
        )
    if path.is_dir():
        if not (path / "manifest.json").exists() and (path / "simulation.json").exists():
            raise MolflowError(
                f"'{path}' is a simulation: make a training set of it first, with "
                f"molflow prepare {path} --out data."
            )
        data = load_training_data(path)
        if data.train.shape[1] != atoms:
            raise MolflowError(
                f"the training set '{path}' is of {data.train.shape[1]} atoms, and "
                f"'{system.name}' has {atoms}: label frames with all atoms of the same molecule."
            )
        sets = {"train": data.train, "validation": data.validation}
        hot = data.manifest.get("dynamics", {}).get("hot_temperature")
        if hot is not None:
            sets[HOT] = load_forces(data).hot[0]
        source = {key: data.manifest.get(key) for key in ("system", "ensemble_hash", "data_hash")}
        split = data.manifest["split"]
        return sets, {"split": split, "hot_temperature": hot, "source": source}
    given, order = read_ensemble(path, top).in_order_of(system.topology())
    if len(order) != atoms:
        raise MolflowError(
            f"'{path}' has {len(order)} of the {atoms} atoms of '{system.name}': give all of them."
        )
    positions = centred(np.concatenate([part.xyz for part in given.chunks(1000)]))
    bad = int((~np.isfinite(positions)).any(axis=(1, 2)).sum())
    if bad:
        raise MolflowError(f"{bad} of {len(positions)} frames of '{path}' are not finite.")
    sets = {"train": positions, "validation": np.empty((0, atoms, 3), dtype=np.float32)}
    split = {"train": [0], "validation": [], "held_out": []}
    source = {"file": path.name, "system": given.record.get("system")}
    return sets, {"split": split, "hot_temperature": None, "source": source}
