"""Short dynamics from many given conformations: do they stay as they are?"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import openmm
from openmm import unit

from molflow.errors import MolflowError
from molflow.md.build import build, make_integrator
from molflow.md.energies import fitting_platform
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem

#: Walkers below which starting processes costs more than it saves.
_SERIAL_SIZE = 64


def relax(
    system: MolecularSystem,
    positions: np.ndarray,
    frames: int,
    frame_interval: float,
    seed: int,
    jobs: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Start Langevin dynamics from every conformation and watch.

    Every walker gets velocities and a thermostat of its own seeds, so that walker i depends on
    `seed`, on i and on its start only.

    Parameters
    ----------
    system : MolecularSystem
        All atoms; its own temperature, friction and time step.
    positions : ndarray, (n, n_atoms, 3)
        Finite, nm.
    frames : int
        Frames a walker after the start.
    frame_interval : float
        ps between frames, a whole number of time steps.
    seed : int
    jobs : int, optional
        Processes; by default one per core.

    Returns
    -------
    energies : ndarray, (n, frames + 1)
        Potential energies in kJ/mol, the start's first; NaN once a walker has blown up.
    positions : ndarray, (n, frames + 1, n_atoms, 3), float32
        nm; NaN likewise.

    Raises
    ------
    MolflowError
        If the interval is not a whole number of time steps, or the system keeps only some atoms.
    """
    steps = round(frame_interval * 1e3 / system.timestep)
    if steps < 1 or abs(steps * system.timestep - frame_interval * 1e3) > 1e-6:
        raise MolflowError(
            f"frame_interval is {frame_interval} ps: give a whole number of time steps of "
            f"{system.timestep:g} fs."
        )
    if system.variant is not None:
        raise MolflowError(
            f"'{system.label}' keeps only some atoms and has no force field: use '{system.name}'."
        )
    positions = np.asarray(positions, np.float64)
    seeds = [derive_seed(seed, "walker", index, bits=30) for index in range(len(positions))]
    jobs = 1 if len(positions) < _SERIAL_SIZE else number_of_jobs(jobs, len(positions))
    work = partial(_walk_all, system, frames, steps)
    if jobs == 1:
        return work(positions, seeds)
    with ProcessPoolExecutor(jobs, mp_context=spawning, initializer=end_with_parent) as pool:
        with caller_not_rerun():
            parts = [
                pool.submit(work, positions[part], [seeds[i] for i in part])
                for part in np.array_split(np.arange(len(positions)), jobs)
            ]
        results = [part.result() for part in parts]
    first, second = (np.concatenate(kind) for kind in zip(*results, strict=True))
    return first, second


def _walk_all(system, frames: int, steps: int, starts: np.ndarray, seeds: list[int]):
    built, _ = build(system)
    integrator = make_integrator(system, system.temperature, 0)
    context = openmm.Context(built, integrator, fitting_platform(built))
    energies = np.full((len(starts), frames + 1), np.nan)
    positions = np.full((len(starts), frames + 1, *starts.shape[1:]), np.nan, np.float32)
    for index, (start, seed) in enumerate(zip(starts, seeds, strict=True)):
        # A new thermostat for each: the generators of OpenMM are seeded when a context is made.
        integrator.setRandomNumberSeed(seed + 1)
        context.reinitialize()
        context.setPositions(start)
        context.setVelocitiesToTemperature(system.temperature * unit.kelvin, seed + 1)
        for frame in range(frames + 1):
            try:
                if frame:
                    integrator.step(steps)
                state = context.getState(energy=True, positions=True)
            except openmm.OpenMMException:
                break  # a coordinate is not finite: the walker has blown up
            energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
            if not np.isfinite(energy):
                break
            energies[index, frame] = energy
            positions[index, frame] = state.getPositions(asNumpy=True)._value
    return energies, positions
