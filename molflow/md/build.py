"""From a `MolecularSystem` to OpenMM's objects."""

from __future__ import annotations

import time
from collections.abc import Sequence

import openmm
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.md.forcefields import (
    CUTOFF,
    apply_forcefield,
    check_particles,
    read_system_xml,
)
from molflow.md.implicit import with_built_in_obc
from molflow.md.platforms import find_platform
from molflow.md.potentials.build import build_with_potential
from molflow.systems import MolecularSystem

#: Atoms beyond which the Reference platform is not timed.
_LARGEST = 500


def build(system: MolecularSystem) -> tuple[openmm.System, app.Topology]:
    """Return the OpenMM system and topology with the force field or potential applied.

    Raises
    ------
    MolflowError
        If the force field, System or potential cannot be had or does not fit the structure, or
        the structure has a box that the forces do not know, or the other way round.
    """
    try:
        topology = app.PDBFile(str(system.structure_path)).topology
    except Exception as error:  # OpenMM raises whatever went wrong in a line of the file
        raise MolflowError(
            f"the structure '{system.structure_path}' of '{system.name}' cannot be read: {error}"
        ) from error
    if system.potential is not None:
        built = build_with_potential(system, topology)
    elif system.system_xml is not None:
        built = read_system_xml(system.folder / system.system_xml, system.name)
        _check_same_atoms(system, built, topology)
    else:
        _check_box(system, topology)
        built = apply_forcefield(system, topology)
        check_particles(built, system.name)
        with_built_in_obc(built)
    box = topology.getPeriodicBoxVectors()
    if box is not None and not built.usesPeriodicBoundaryConditions():
        raise MolflowError(
            f"the structure of '{system.name}' has a periodic box, and its forces know none, so "
            "that it would be in vacuum without a word: set nonbonded_method to PME, or take the "
            f"CRYST1 line out of '{system.structure}'."
        )
    if box is not None:
        built.setDefaultPeriodicBoxVectors(*box)
    return built, topology


def _check_same_atoms(system: MolecularSystem, built: openmm.System, topology) -> None:
    """Raise `MolflowError` unless a System and a structure are of the same atoms."""
    atoms = list(topology.atoms())
    if len(atoms) != built.getNumParticles():
        raise MolflowError(
            f"'{system.system_xml}' of '{system.name}' has {built.getNumParticles()} particles and "
            f"'{system.structure}' {len(atoms)} atoms: they have to be of the same molecule."
        )
    elements = [atom.element for atom in atoms]
    if None in elements:
        raise MolflowError(
            f"atom {elements.index(None)} in '{system.structure}' of '{system.name}' has no "
            "element: write the elements into the structure file."
        )
    masses = [built.getParticleMass(k).value_in_unit(unit.dalton) for k in range(len(atoms))]
    expected = [element.mass.value_in_unit(unit.dalton) for element in elements]
    # Heavier hydrogens take their mass from what carries them, so the sum stays.
    heavy = [
        k for k, element in enumerate(elements)
        if element.symbol != "H" and masses[k] > expected[k] + 0.5
    ]  # fmt: skip
    if heavy or abs(sum(masses) - sum(expected)) > 0.02 * sum(expected):
        k = heavy[0] if heavy else 0
        raise MolflowError(
            f"'{system.system_xml}' and '{system.structure}' of '{system.name}' disagree on what "
            f"the atoms are (atom {k}: {masses[k]:.3f} amu, and {elements[k].symbol} has "
            f"{expected[k]:.3f}): give both of the same molecule in the same order."
        )


def _check_box(system: MolecularSystem, topology: app.Topology) -> None:
    """Raise `MolflowError` where a periodic method has no box or one that is too small."""
    if not system.periodic:
        return
    box = topology.getPeriodicBoxVectors()
    if box is None:
        raise MolflowError(
            f"nonbonded_method of '{system.name}' is {system.nonbonded_method}, and "
            f"'{system.structure}' has no box: add its CRYST1 line, or set NoCutoff."
        )
    width = min(box[k][k].value_in_unit(unit.nanometer) for k in range(3))
    cutoff = system.nonbonded_cutoff or CUTOFF
    if width < 2 * cutoff:
        raise MolflowError(
            f"the box of '{system.name}' is {width:.3g} nm wide and the cutoff {cutoff:g} nm: the "
            "cutoff has to be below half the width; set nonbonded_cutoff (--cutoff of molflow "
            "init) to "
            f"{0.45 * width:.2g}nm, or take a larger box."
        )


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
    system: MolecularSystem,
    temperature: float,
    seed: int,
    platform: str,
    forces: Sequence[openmm.Force] = (),
) -> app.Simulation:
    """Return a simulation at the structure's positions, on a platform as `find_platform` knows it.

    `forces` are added to those of the force field.
    """
    built, topology = build(system)
    for force in forces:
        built.addForce(force)
    integrator = make_integrator(system, temperature, seed)
    if system.pressure is not None:
        barostat = openmm.MonteCarloBarostat(system.pressure, temperature)
        barostat.setRandomNumberSeed(seed % (2**31 - 1) + 1)
        built.addForce(barostat)
    simulation = app.Simulation(topology, built, integrator, *find_platform(platform))
    simulation.context.setPositions(system.start_positions())
    return simulation


def start_anew(
    system: MolecularSystem, simulation: app.Simulation, temperature: float, seed: int
) -> None:
    """Put a simulation where `make_simulation` with this temperature and seed has it."""
    simulation.integrator.setTemperature(temperature * unit.kelvin)
    for random in (simulation.integrator, *simulation.system.getForces()):
        if isinstance(random, (openmm.Integrator, openmm.MonteCarloBarostat)):
            random.setRandomNumberSeed(seed % (2**31 - 1) + 1)
    simulation.context.reinitialize()  # OpenMM seeds its generators when a context is made
    simulation.context.setPositions(system.start_positions())


def fastest_platform(system: MolecularSystem, seconds: float = 0.3) -> tuple[str, dict[str, float]]:
    """Time every OpenMM platform for a moment and name the fastest; Reference for a potential.

    Reference is left out for many atoms if there is another: a step of it takes too long.

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
    speeds: dict[str, float] = {}
    names = [
        openmm.Platform.getPlatform(index).getName()
        for index in range(openmm.Platform.getNumPlatforms())
    ]
    for name in sorted(names, key="Reference".__eq__):
        if name == "Reference" and speeds and build(system)[0].getNumParticles() > _LARGEST:
            continue
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
    return max(speeds, key=lambda name: speeds[name]), speeds


def total_charge(built: openmm.System) -> float | None:
    """Return the sum of all charges in elementary charges, None where no force has any."""
    for force in built.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charges = [force.getParticleParameters(k)[0] for k in range(force.getNumParticles())]
            return float(sum(q.value_in_unit(unit.elementary_charge) for q in charges))
    return None
