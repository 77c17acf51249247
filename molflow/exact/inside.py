"""Molecular dynamics that stays inside a part of space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm
from openmm import unit

from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem

#: ps between the looks at whether a walker is still inside.
SEGMENT = 0.5


class InsideWalker:
    """One OpenMM context in which walkers move by segments, each with velocities drawn anew.

    A segment that ends outside is undone, as a move that Metropolis' rule rejects: positions
    after a segment have the Boltzmann law as far as its time step allows and are reversible in
    it, so that the chain with undone moves has the law inside.

    Parameters
    ----------
    system : MolecularSystem
    inside : callable
        (n_atoms, 3) nm -> bool.
    """

    def __init__(self, system: MolecularSystem, inside: Callable[[np.ndarray], bool]):
        built, _ = build(system)
        self._temperature, self._inside = system.temperature, inside
        step = system.timestep
        self._steps = max(1, round(1e3 * SEGMENT / step))
        self._integrator = openmm.LangevinMiddleIntegrator(
            system.temperature * unit.kelvin,
            system.friction / unit.picosecond,
            step * unit.femtosecond,
        )
        platform = fitting_platform(built)
        properties = {"Threads": "1"} if platform.getName() == "CPU" else {}
        self._context = openmm.Context(built, self._integrator, platform, properties)

    def walk(self, start: np.ndarray, segments: int, seed: int) -> tuple[np.ndarray, int]:
        """Return where a walker from `start` (n_atoms, 3), inside, is after some segments.

        Returns
        -------
        positions : ndarray, (n_atoms, 3)
            nm.
        undone : int
            Segments that ended outside.
        """
        self._integrator.setRandomNumberSeed(derive_seed(seed, "thermostat", bits=30) + 1)
        self._context.reinitialize()
        place, undone = np.asarray(start, np.float64), 0
        for k in range(segments):
            self._context.setPositions(place)
            velocities = derive_seed(seed, "velocities", k, bits=30) + 1
            self._context.setVelocitiesToTemperature(self._temperature, velocities)
            self._integrator.step(self._steps)
            new = self._context.getState(positions=True).getPositions(asNumpy=True)._value
            if np.isfinite(new).all() and self._inside(new):
                place = new
            else:
                undone += 1
        return place, undone
