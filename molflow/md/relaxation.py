"""Short dynamics from many given conformations: do they stay as they are?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import openmm
from openmm import unit

from molflow.errors import MolflowError
from molflow.farm import Farm, Jobs
from molflow.md.build import build, make_integrator
from molflow.md.energies import fitting_platform
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.workers import number_of_jobs

#: Walkers below which starting processes costs more than it saves.
_SERIAL_SIZE = 64


def relax(
    system: MolecularSystem,
    positions: np.ndarray,
    frames: int,
    frame_interval: float,
    seed: int,
    jobs: Jobs = None,
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
    jobs : int or str, optional
        Processes, or a cluster, see `Farm`; by default one per core.

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
    if isinstance(jobs, str):
        shares = len(positions) // _SERIAL_SIZE + 1
    else:
        jobs = 1 if len(positions) < _SERIAL_SIZE else number_of_jobs(jobs, len(positions))
        shares = jobs
    tasks = {
        k: (positions[part], [seeds[i] for i in part])
        for k, part in enumerate(np.array_split(np.arange(len(positions)), shares))
    }
    with Farm(partial(_Walks, system, frames, steps), jobs) as farm:
        found = dict(farm.each("walk", tasks))
    parts = [found[k] for k in sorted(found)]
    first, second = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    return first, second


@dataclass(frozen=True)
class _Walks:
    system: MolecularSystem
    frames: int
    steps: int

    def walk(self, starts: np.ndarray, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return energies and positions of walkers, as `relax` does."""
        built, _ = build(self.system)
        integrator = make_integrator(self.system, self.system.temperature, 0)
        context = openmm.Context(built, integrator, fitting_platform(built))
        energies = np.full((len(starts), self.frames + 1), np.nan)
        positions = np.full((len(starts), self.frames + 1, *starts.shape[1:]), np.nan, np.float32)
        for index, (start, seed) in enumerate(zip(starts, seeds, strict=True)):
            # A new thermostat for each: the generators of OpenMM are seeded when a context is made.
            integrator.setRandomNumberSeed(seed + 1)
            context.reinitialize()
            context.setPositions(start)
            context.setVelocitiesToTemperature(self.system.temperature * unit.kelvin, seed + 1)
            for frame in range(self.frames + 1):
                try:
                    if frame:
                        integrator.step(self.steps)
                    state = context.getState(energy=True, positions=True)
                except openmm.OpenMMException:
                    break  # a coordinate is not finite: the walker has blown up
                energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
                if not np.isfinite(energy):
                    break
                energies[index, frame] = energy
                positions[index, frame] = state.getPositions(asNumpy=True)._value
        return energies, positions
