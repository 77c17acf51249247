"""Strongly damped Langevin dynamics from many conformations, in pieces that do not know each other.

Damping at 30/ps takes the heat that a map leaves in bonds and angles into the bath within tenths
of a picosecond, while basins stay as they are. All walkers of a piece are walked in one OpenMM
context, one after the other, so that a piece costs little more than its steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit

from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.md.minimise import minimise
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem

#: Conformations of a piece: what is written at once, and shares one thermostat.
PIECE = 64
#: nm that the force alone may move an atom in the first time step. Molecular dynamics at 300 K
#: stays below 0.0035; beyond it a walker would be shot out of its basin, or of its bonds.
STEEP = 0.005
#: Steps of the descent that such a conformation is given first.
_DESCENT = 50


@dataclass(frozen=True)
class Walk:
    """What is asked of every walker.

    Attributes
    ----------
    system : MolecularSystem
        All atoms.
    steps : int
        Time steps.
    friction : float
        1/ps.
    timestep : float
        fs.
    seed : int
    """

    system: MolecularSystem
    steps: int
    friction: float
    timestep: float
    seed: int


@dataclass(frozen=True)
class Walked:
    """Where walkers arrived.

    Attributes
    ----------
    positions : ndarray, (n, n_atoms, 3), float32
        nm; the start where a walker has blown up or was not finite.
    energies : ndarray, (n,)
        kJ/mol, computed in double precision; infinite where the start was not finite.
    descended : ndarray, (n,) bool
        Whether a descent came first.
    blown_up : ndarray, (n,) bool
        Whether the walker could not be walked, so that it is where it began.
    """

    positions: np.ndarray
    energies: np.ndarray
    descended: np.ndarray
    blown_up: np.ndarray

    @classmethod
    def joined(cls, parts: list[Walked]) -> Walked:
        """Return consecutive pieces as one."""
        fields = ("positions", "energies", "descended", "blown_up")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


class Walker:
    """One OpenMM context, for any number of pieces.

    Parameters
    ----------
    walk : Walk
    """

    def __init__(self, walk: Walk):
        self.walk = walk
        built, _ = build(walk.system)
        self._temperature = walk.system.temperature
        masses = [built.getParticleMass(i)._value for i in range(built.getNumParticles())]
        # Virtual sites have no mass and are not moved by forces.
        self._inverse_mass = np.array([1.0 / mass if mass else 0.0 for mass in masses])
        self._constrained = built.getNumConstraints() > 0
        self._integrator = openmm.LangevinMiddleIntegrator(
            self._temperature * unit.kelvin,
            walk.friction / unit.picosecond,
            walk.timestep * unit.femtosecond,
        )
        platform = fitting_platform(built)
        properties = {"Threads": "1"} if platform.getName() == "CPU" else {}
        self._context = openmm.Context(built, self._integrator, platform, properties)

    def piece(self, index: int, starts: np.ndarray) -> Walked:
        """Walk from every conformation of piece `index`, (k, n_atoms, 3) in nm.

        What comes of it depends on the walk, on the index and on the starts alone.
        """
        seed = derive_seed(self.walk.seed, "piece", index, bits=30)
        # A new thermostat for each piece: OpenMM's generators are seeded when a context is made.
        self._integrator.setRandomNumberSeed(seed + 1)
        self._context.reinitialize()
        count = len(starts)
        positions, energies = starts.astype(np.float32), np.full(count, np.inf)
        descended, blown_up = np.zeros(count, bool), np.zeros(count, bool)
        for k, start in enumerate(starts):
            if not np.isfinite(start).all():
                blown_up[k] = True
                continue
            velocity_seed = derive_seed(self.walk.seed, "velocities", index, k, bits=30) + 1
            try:
                descended[k] = self._prepare(start)
                self._context.setVelocitiesToTemperature(self._temperature, velocity_seed)
                self._integrator.step(self.walk.steps)
                end, energy = self._state()
            except openmm.OpenMMException:  # a coordinate is no longer finite
                end, energy = np.array([np.nan]), np.nan
            if np.isfinite(energy) and np.isfinite(end).all():
                positions[k], energies[k] = end, energy
            else:
                blown_up[k] = True
                self._context.setPositions(start)
                energies[k] = self._state()[1]
        energies[np.isnan(energies)] = np.inf
        return Walked(positions, energies, descended, blown_up)

    def _prepare(self, start: np.ndarray) -> bool:
        """Place the walker, down the slope first where it is steep; return whether it was."""
        self._context.setPositions(start)
        if self._constrained:
            self._context.applyConstraints(1e-6)
        forces = self._context.getState(forces=True).getForces(asNumpy=True)._value
        moves = np.linalg.norm(forces, axis=1) * self._inverse_mass
        steep = not moves.max() * (1e-3 * self.walk.timestep) ** 2 <= STEEP
        if steep:
            minimise(self.walk.system, self._context, 100.0, _DESCENT)
        return steep

    def _state(self) -> tuple[np.ndarray, float]:
        state = self._context.getState(positions=True, energy=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return state.getPositions(asNumpy=True)._value, energy
