"""Potential energies and forces of many configurations, in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import openmm
from openmm import unit

from molflow.errors import MolflowError
from molflow.farm import Farm, Jobs
from molflow.md.build import build
from molflow.systems import MolecularSystem
from molflow.workers import number_of_jobs

K = TypeVar("K")

#: Up to this many atoms the double-precision Reference platform is used (and is the fastest).
_REFERENCE_ATOMS = 500
#: Configurations times atoms below which starting processes costs more than it saves.
SERIAL_SIZE = 1_000_000
#: Tasks that a batch makes on a cluster.
_SHARES = 64
#: Parts that long work is divided into, and configurations of one at least and at most: by force
#: fields, and by potentials, which cost thousands of times more.
_PARTS, _PART, _DEAR_PART = 128, (64, 1024), (1, 64)
#: Why there is no energy where atoms coincide.
NOT_FINITE = "the energy or a force is not finite"


def potential_energies(
    system: MolecularSystem, positions: np.ndarray, jobs: Jobs = None
) -> np.ndarray:
    """Return the potential energy of every configuration.

    Parameters
    ----------
    system : MolecularSystem
        Its force field or potential; all atoms are needed, a coarse selection has no energy.
    positions : array, shape (n, n_atoms, 3)
        nm.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one for small inputs and one
        per core for large ones.

    Returns
    -------
    array, shape (n,), float64
        kJ/mol. Infinite where atoms coincide or the potential has no answer, such as an SCF that
        does not converge, so that the Boltzmann weight there is zero.

    Raises
    ------
    MolflowError
        If the shape is wrong or positions are not finite.
    """
    return evaluate(system, positions, jobs, forces=False).energies


@dataclass(frozen=True)
class Evaluation:
    """Energies and forces of configurations.

    Attributes
    ----------
    energies : array, (n,), float64
        kJ/mol, infinite where there is none.
    forces : array, (n, n_atoms, 3), float64, or None
        kJ/(mol nm); not finite where there is none.
    failures : tuple of str
        Why there is none for a configuration; empty where all is well.
    """

    energies: np.ndarray
    forces: np.ndarray | None
    failures: tuple[str, ...]


def evaluate(
    system: MolecularSystem, positions: np.ndarray, jobs: Jobs = None, forces: bool = True
) -> Evaluation:
    """Return energies as `potential_energies` does, the forces, and what failed.

    Parameters and errors as for `potential_energies`; `forces` says whether they are wanted.
    """
    positions = checked_positions(system, positions)
    with EnergyWorkers(system, sensible_jobs(system, len(positions), jobs)) as workers:
        return workers.evaluate(positions, forces)


def sensible_jobs(system: MolecularSystem, count: int, jobs: Jobs) -> int | str:
    """Return how many processes to use for so many configurations: as asked, or as many as pay."""
    size = count * system.topology().n_atoms
    if jobs is None and size < SERIAL_SIZE and system.potential is None:
        return 1
    return jobs if isinstance(jobs, str) else number_of_jobs(jobs, count)


def part_size(system: MolecularSystem, count: int) -> int:
    """Return how many configurations make a part that is one task and is kept when it is done.

    Few are divided finely, so that processes end together and little is lost with one; of many,
    larger parts keep the farm's own work at some hundredths of theirs.
    """
    least, most = _PART if system.potential is None else _DEAR_PART
    return min(max(count // _PARTS, least), most)


def energies_and_forces(
    system: MolecularSystem, positions: np.ndarray, jobs: Jobs = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies and the forces that `evaluate` gives."""
    found = evaluate(system, positions, jobs)
    assert found.forces is not None, "they were asked for"
    return found.energies, found.forces


def fitting_platform(built: openmm.System) -> openmm.Platform:
    """Return the platform for short work on one core: Reference for few atoms, otherwise CPU."""
    name = "Reference" if built.getNumParticles() <= _REFERENCE_ATOMS else "CPU"
    return openmm.Platform.getPlatformByName(name)


class EnergyWorkers:
    """Processes that keep the system built, for configurations that come in batches.

    Use it as a context: ``with EnergyWorkers(system, jobs=2) as workers: workers.energies(x)``.

    Parameters
    ----------
    system : MolecularSystem
        Its force field or potential; all atoms are needed.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core. One works in
        the caller's own process.
    """

    def __init__(self, system: MolecularSystem, jobs: Jobs = None):
        self.system = system
        self.farm = Farm(partial(_Evaluator, system), jobs)
        #: Batches are divided among so many; those of a cluster come and go.
        self.shares = self.farm.jobs or _SHARES

    def __enter__(self) -> EnergyWorkers:
        return self

    def __exit__(self, *reason: object) -> None:
        self.farm.__exit__(*reason)

    def each(
        self, batches: Iterable[tuple[K, np.ndarray]], forces: bool = True
    ) -> Iterator[tuple[K, Evaluation]]:
        """Yield keys of batches of checked positions and what `evaluate` gives, in any order.

        Parameters
        ----------
        batches : iterable of pairs
            Asked for more when there are workers for them. Each is the task of one worker.
        forces : bool
            Whether they are wanted.
        """
        tasks = ((key, (positions, forces)) for key, positions in batches)
        for key, (energies, gradients, failures) in self.farm.each("batch", tasks):
            yield key, Evaluation(energies, gradients, tuple(failures))

    def energies(self, positions: np.ndarray) -> np.ndarray:
        """Return potential energies (n,) in kJ/mol as `potential_energies` does."""
        return self.evaluate(checked_positions(self.system, positions), forces=False).energies

    def by_force(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the energy of every force of the force field by itself.

        Parameters
        ----------
        positions : array, shape (n, n_atoms, 3)
            nm.

        Returns
        -------
        dict of str to array, shape (n,), float64
            kJ/mol by the name of the OpenMM force, such as ``HarmonicBondForce``; they add up to
            the potential energy. A second force of a name has its number in brackets.
        """
        positions = checked_positions(self.system, positions)
        parts = self._map("by_force", positions)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def evaluate(self, positions: np.ndarray, forces: bool = True) -> Evaluation:
        """Return energies (n,) and, if wanted, forces (n, n_atoms, 3) of checked positions."""
        parts = self._map("batch", positions, forces)
        energies, gradients, failures = zip(*parts, strict=True)
        return Evaluation(
            np.concatenate(energies),
            np.concatenate(gradients) if forces else None,
            tuple(reason for part in failures for reason in part),
        )

    def _map(self, method: str, positions: np.ndarray, *arguments) -> list:
        shares = np.array_split(positions, min(self.shares, max(1, len(positions))))
        found = dict(
            self.farm.each(method, {k: (part, *arguments) for k, part in enumerate(shares)})
        )
        return [found[k] for k in sorted(found)]


def checked_positions(system: MolecularSystem, positions) -> np.ndarray:
    """Return positions in double precision.

    Raises
    ------
    MolflowError
        If they are not finite, or not of all atoms of the system.
    """
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


class _Evaluator:
    """One OpenMM context that is never stepped."""

    def __init__(self, system: MolecularSystem):
        built, _ = build(system)
        self.names: list[str] = []
        for group, force in enumerate(built.getForces()):
            force.setForceGroup(group)
            count = sum(name.partition(" (")[0] == force.getName() for name in self.names)
            self.names.append(f"{force.getName()} ({count + 1})" if count else force.getName())
        integrator = openmm.VerletIntegrator(0.001)  # a context needs one
        self.context = openmm.Context(built, integrator, fitting_platform(built))

    def batch(self, positions: np.ndarray, forces: bool):
        energies = np.full(len(positions), np.inf)
        gradients = np.full(positions.shape, np.nan) if forces else None
        failures = [""] * len(positions)
        for index, frame in enumerate(positions):
            try:
                self.context.setPositions(frame)
                state = self.context.getState(energy=True, forces=forces)
            except openmm.OpenMMException as error:  # what a potential raises comes through as such
                failures[index] = str(error).strip().partition("\n")[0]
                continue
            energies[index] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
            total = energies[index]
            if gradients is not None:
                gradients[index] = state.getForces(asNumpy=True)._value
                total += gradients[index].sum()
            if not np.isfinite(total):
                failures[index] = NOT_FINITE
        energies[~np.isfinite(energies)] = np.inf
        return energies, gradients, failures

    def by_force(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        energies = {name: np.full(len(positions), np.inf) for name in self.names}
        for index, frame in enumerate(positions):
            try:
                self.context.setPositions(frame)
                for group, name in enumerate(self.names):
                    state = self.context.getState(energy=True, groups={group})
                    energies[name][index] = state.getPotentialEnergy()._value
            except openmm.OpenMMException:
                continue  # it is among the failures of `batch`
        return energies
