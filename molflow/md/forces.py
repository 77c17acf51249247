"""Forces for a training set, and hotter frames beside it: what maps of dynamics learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
from openmm import unit

from molflow.data.dataset import FORCES, HOT, TrainingData, data_hash, load_training_data
from molflow.data.prepare import centred
from molflow.errors import MolflowError
from molflow.files import write_arrays, write_json
from molflow.md.bonded import bonded_terms
from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.md.labels import label_frames
from molflow.progress import track
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system, recorded_system
from molflow.units import parse_quantity

#: One hot frame for so many frames of the training set.
_HOT_EVERY = 3
#: Heating: ps, fs and 1/ps; long against the vibrations, short against the torsions.
_HOT_TIME, _HOT_STEP, _HOT_FRICTION = 0.2, 0.5, 20.0


def add_forces(
    folder: str | Path,
    system: str | Path | MolecularSystem | None = None,
    hot: str | float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    progress: bool = True,
) -> dict:
    """Add the forces on its frames to a training set, and frames that are hotter.

    Writes ``train_forces.npz`` and ``validation_forces.npz`` with ``forces`` (frames, atoms, 3) in
    kJ/mol/nm and ``energies`` in kJ/mol, computed in double precision at the positions that are
    stored, and with `hot` ``hot.npz``, which has ``positions`` too; ``manifest.json`` gets
    ``dynamics``: masses (amu), bonded terms and hashes.

    Parameters
    ----------
    folder : str or Path
        That `prepare` wrote.
    system : str, Path or MolecularSystem, optional
        By default the one that the training set names.
    hot : str, float or quantity, optional
        Temperature of frames for coverage, a float in K. Every third training frame is heated for
        0.2 ps: bonds and angles are hot then, torsions hardly moved.
    seed : int
        Of the heating.
    jobs : int, optional
        Processes for the forces.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict
        The content of ``manifest.json``.

    Raises
    ------
    MolflowError
        If the training set is coarse, of another system, or the system has constraints, virtual
        sites or particles without mass, for which there are no equations of motion of free atoms.
    """
    folder = Path(folder)
    data = load_training_data(folder)
    system = system_of(data, system)
    temperature = None if hot is None else parse_quantity(hot, "temperature", "hot")
    if temperature is not None and not temperature > system.temperature:
        raise MolflowError(
            f"hot is {temperature:g} K: give more than the {system.temperature:g} K of the system."
        )
    masses = free_masses(system)
    sets = {"train": data.train, "validation": data.validation}
    if temperature is not None:
        sets[HOT] = heated(system, data.train[::_HOT_EVERY], temperature, seed, progress)
    hashes = {}
    for name, positions in sets.items():
        found = label_frames(system, positions, jobs, what=f"forces of {name}", progress=progress)
        if failed := found.counted():
            reason, count = next(iter(failed.items()))
            raise MolflowError(
                f"{len(positions) - found.good.sum()} of {len(positions)} {name} frames have no "
                f"forces ({count} times: {reason}): molflow label leaves such frames out."
            )
        hashes[name] = write_forces(folder, name, positions, found.forces, found.energies)
    dynamics = dynamics_of(system, masses, hashes, temperature, len(sets.get(HOT, ())))
    manifest = data.manifest | {"dynamics": dynamics}
    write_json(folder / "manifest.json", manifest)
    return manifest


def write_forces(
    folder: Path, name: str, positions: np.ndarray, forces: np.ndarray, energies: np.ndarray
) -> str:
    """Write the forces and energies of a set of frames, and return the hash of the forces."""
    found = {"forces": forces, "energies": energies}
    if name == HOT:
        write_arrays(folder / f"{HOT}.npz", positions=positions, **found)
    else:
        write_arrays(folder / FORCES.format(name), **found)
    return data_hash(forces)


def dynamics_of(
    system: MolecularSystem,
    masses: list[float],
    hashes: dict[str, str],
    hot_temperature: float | None,
    hot_frames: int,
) -> dict:
    """Return what the manifest of a training set with forces says of the dynamics."""
    return {
        "masses": masses,
        "bonded": bonded_terms(build(system)[0]).to_dict(),
        "forces_sha256": hashes,
        "hot_temperature": hot_temperature,
        "hot_frames": hot_frames,
        "openmm": openmm.__version__,
    }


def system_of(
    data: TrainingData, system: str | Path | MolecularSystem | None
) -> MolecularSystem:
    """Return the system that a training set was made from, by default the one that it names.

    Raises
    ------
    MolflowError
        If it is of another ensemble.
    """
    if not isinstance(system, MolecularSystem):
        system = recorded_system(data.manifest) if system is None else load_system(system)
    if system.ensemble_hash != data.manifest["ensemble_hash"]:
        raise MolflowError(
            f"the training set '{data.folder}' is of the ensemble "
            f"{data.manifest['ensemble_hash']}, and '{system.label}' of {system.ensemble_hash}: "
            "name the system it was made from."
        )
    return system


def free_masses(system: MolecularSystem) -> list[float]:
    """Return the masses of all atoms in amu.

    Raises
    ------
    MolflowError
        Unless every atom moves freely: no constraints, virtual sites or particles without mass.
    """
    built, _ = build(system)
    count = built.getNumParticles()
    masses = [built.getParticleMass(k).value_in_unit(unit.dalton) for k in range(count)]
    virtual = [k for k in range(count) if built.isVirtualSite(k)]
    if built.getNumConstraints():
        raise MolflowError(
            f"the system '{system.label}' has {built.getNumConstraints()} constraints, and maps of "
            "dynamics know free atoms only: set constraints to none in its system.yaml and "
            "simulate again."
        )
    if virtual or not all(masses):
        which = virtual or [k for k in range(count) if not masses[k]]
        raise MolflowError(
            f"the particles {which[:5]} of the system '{system.label}' are virtual sites or have "
            "no mass, and maps of dynamics know free atoms only: take a force field without them."
        )
    return masses


def heated(
    system: MolecularSystem, positions: np.ndarray, temperature: float, seed: int, progress: bool
) -> np.ndarray:
    """Return centred positions after a short time at another temperature, float32.

    Parameters
    ----------
    positions : array, (frames, atoms, 3)
        nm; each is the start of its own short run with new velocities.
    temperature : float
        K.
    """
    built, _ = build(system)
    integrator = openmm.LangevinMiddleIntegrator(temperature, _HOT_FRICTION, 1e-3 * _HOT_STEP)
    integrator.setRandomNumberSeed(derive_seed(seed, "hot noise") % (2**31 - 1) + 1)
    context = openmm.Context(built, integrator, fitting_platform(built))
    frames = np.empty(positions.shape)
    for index in track(range(len(positions)), "heating frames", progress):
        context.setPositions(positions[index].astype(np.float64))
        context.setVelocitiesToTemperature(
            temperature, derive_seed(seed, "hot", index) % (2**31 - 1) + 1
        )
        integrator.step(round(1e3 * _HOT_TIME / _HOT_STEP))
        frames[index] = context.getState(positions=True).getPositions(asNumpy=True)._value
    return centred(frames)
