"""From a `MolecularSystem` to OpenMM's objects."""

from __future__ import annotations

import time

import openmm
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.md.potentials.build import build_with_potential
from molflow.systems import MolecularSystem

_NONBONDED = {"NoCutoff": app.NoCutoff}
_CONSTRAINTS = {"none": None, "HBonds": app.HBonds}


def build(system: MolecularSystem) -> tuple[openmm.System, app.Topology]:
    """Return the OpenMM system and topology with the force field or potential applied.

    Raises
    ------
    MolflowError
        If the force field, potential, method or constraints are unknown, or do not cover the
        structure.
    """
    for value, known, field in (
        (system.nonbonded_method, _NONBONDED, "nonbonded_method"),
        (system.constraints, _CONSTRAINTS, "constraints"),
    ):
        if value not in known:
            raise MolflowError(
                f"{field} of the system '{system.name}' is '{value}': "
                f"choose one of {', '.join(known)}."
            )
    pdb = app.PDBFile(str(system.structure_path))
    if system.potential is not None:
        return build_with_potential(system, pdb.topology), pdb.topology
    try:
        forcefield = app.ForceField(*system.forcefield)
        built = forcefield.createSystem(
            pdb.topology,
            nonbondedMethod=_NONBONDED[system.nonbonded_method],
            constraints=_CONSTRAINTS[system.constraints],
        )
    except Exception as error:  # OpenMM raises bare Exception and ValueError here
        raise MolflowError(
            f"the force field {system.forcefield} cannot be applied to "
            f"'{system.structure_path.name}': {error}"
        ) from error
    return built, pdb.topology


def make_integrator(system: MolecularSystem, temperature: float, seed: int) -> openmm.Integrator:
    """Return the Langevin middle integrator of the system at a temperature in K."""
    integrator = openmm.LangevinMiddleIntegrator(
        temperature * unit.kelvin,
        system.friction / unit.picosecond,
        system.timestep * unit.femtosecond,
    )
    integrator.setRandomNumberSeed(seed % (2**31 - 1) + 1)
    return integrator


def make_simulation(
    system: MolecularSystem, temperature: float, seed: int, platform: str
) -> app.Simulation:
    """Return a simulation at the structure's positions, one thread on the CPU platform."""
    built, topology = build(system)
    integrator = make_integrator(system, temperature, seed)
    properties = {"Threads": "1"} if platform == "CPU" else {}
    simulation = app.Simulation(
        topology, built, integrator, openmm.Platform.getPlatformByName(platform), properties
    )
    simulation.context.setPositions(system.start_positions())
    return simulation


def fastest_platform(system: MolecularSystem, seconds: float = 0.3) -> tuple[str, dict[str, float]]:
    """Time every OpenMM platform for a moment and name the fastest; Reference for a potential.

    Parameters
    ----------
    system : MolecularSystem
    seconds : float
        Measuring time per platform.

    Returns
    -------
    name : str
    speeds : dict of str to float
        Steps per second by platform; platforms that fail here are absent.
    """
    if system.potential is not None:
        return "Reference", {}  # the time is spent in the potential, wherever that runs
    speeds = {}
    for index in range(openmm.Platform.getNumPlatforms()):
        name = openmm.Platform.getPlatform(index).getName()
        try:
            simulation = make_simulation(system, system.temperature, 1, name)
            simulation.minimizeEnergy(maxIterations=20)
            simulation.step(20)
            steps, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                simulation.step(50)
                steps += 50
            simulation.context.getState(positions=True)
            speeds[name] = steps / (time.perf_counter() - start)
        except openmm.OpenMMException:
            continue  # a platform that is compiled in but has no device on this machine
    if not speeds:
        raise MolflowError(
            "no OpenMM platform works on this machine: check the OpenMM installation."
        )
    return max(speeds, key=speeds.get), speeds
