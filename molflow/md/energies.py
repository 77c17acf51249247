"""Potential energies and forces of many configurations, in double precision."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import openmm
from openmm import unit

from molflow.errors import MolflowError
from molflow.md.build import build
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.systems import MolecularSystem

#: Up to this many atoms the double-precision Reference platform is used (and is the fastest).
_REFERENCE_ATOMS = 500
#: Configurations times atoms below which starting processes costs more than it saves.
_SERIAL_SIZE = 1_000_000


def potential_energies(
    system: MolecularSystem, positions: np.ndarray, jobs: int | None = None
) -> np.ndarray:
    """Return the potential energy of every configuration.

    Parameters
    ----------
    system : MolecularSystem
        Its force field; all atoms are needed, a coarse selection has no energy.
    positions : array, shape (n, n_atoms, 3)
        nm.
    jobs : int, optional
        Processes; by default one for small inputs and one per core for large ones.

    Returns
    -------
    array, shape (n,), float64
        kJ/mol. Infinite where atoms coincide, so that the Boltzmann weight there is zero.

    Raises
    ------
    MolflowError
        If the shape is wrong or positions are not finite.
    """
    return _evaluate(system, positions, jobs, forces=False)[0]


def energies_and_forces(
    system: MolecularSystem, positions: np.ndarray, jobs: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return energies as `potential_energies` does, and the forces.

    Returns
    -------
    energies : array, shape (n,), float64
        kJ/mol.
    forces : array, shape (n, n_atoms, 3), float64
        kJ/(mol nm); not finite where atoms coincide.
    """
    return _evaluate(system, positions, jobs, forces=True)


def _evaluate(system, positions, jobs, forces):
    positions = _checked(system, positions)
    if jobs is None and positions.size // 3 < _SERIAL_SIZE:
        jobs = 1
    jobs = number_of_jobs(jobs, len(positions))
    if jobs == 1:
        return _batch(system, positions, forces)
    with ProcessPoolExecutor(jobs, mp_context=spawning, initializer=end_with_parent) as pool:
        with caller_not_rerun():
            batches = [
                pool.submit(_batch, system, part, forces)
                for part in np.array_split(positions, jobs)
            ]
        energies, gradients = zip(*(batch.result() for batch in batches), strict=True)
    return np.concatenate(energies), np.concatenate(gradients) if forces else None


def _checked(system: MolecularSystem, positions) -> np.ndarray:
    if system.variant is not None:
        raise MolflowError(
            f"'{system.label}' keeps only some atoms, and the force field needs all of them: "
            f"use the system '{system.name}'."
        )
    positions = np.asarray(positions, dtype=np.float64)
    n_atoms = system.topology().n_atoms
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3):
        raise MolflowError(
            f"positions have the shape {positions.shape}, but '{system.name}' needs "
            f"(n, {n_atoms}, 3) in nm."
        )
    bad = len(positions) - int(np.isfinite(positions).all(axis=(1, 2)).sum())
    if bad:
        raise MolflowError(
            f"{bad} of {len(positions)} configurations hold positions that are not finite: "
            "count them as failures and leave them out."
        )
    return positions


def _batch(system, positions, forces):
    built, _ = build(system)
    name = "Reference" if built.getNumParticles() <= _REFERENCE_ATOMS else "CPU"
    integrator = openmm.VerletIntegrator(0.001)  # a context needs one; it is never stepped
    context = openmm.Context(built, integrator, openmm.Platform.getPlatformByName(name))
    energies = np.empty(len(positions))
    gradients = np.empty(positions.shape) if forces else None
    for index, frame in enumerate(positions):
        context.setPositions(frame)
        state = context.getState(energy=True, forces=forces)
        energies[index] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        if forces:
            gradients[index] = state.getForces(asNumpy=True)._value
    energies[~np.isfinite(energies)] = np.inf
    return energies, gradients
