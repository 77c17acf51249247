"""What was understood of a molecule, checked by one energy, in words."""

from __future__ import annotations

from collections import Counter

import numpy as np
import openmm
from openmm import unit

from molflow.analysis.molecule.stereo import stereocentres
from molflow.analysis.torsion_list import residue_labels, torsion_list
from molflow.errors import MolflowError
from molflow.md.build import build, fastest_platform, make_integrator, total_charge
from molflow.md.energies import fitting_platform
from molflow.md.minimise import minimise
from molflow.systems import MolecularSystem

#: Steps and tolerance (kJ/mol/nm) of the relaxation of positions that were made up.
_STEPS, _TOLERANCE = 500, 10.0
#: Evaluations of a potential that are timed at least, seconds, and nm between them, as in a step.
_EVALUATIONS, _MEASURING, _MOVE = 5, 0.5, 0.002
#: kJ/mol/nm; larger forces mean a strained or overlapping structure.
_STRAINED = 1e5


def check_energy(system: MolecularSystem, relax: bool) -> tuple[dict, np.ndarray]:
    """Return energy (kJ/mol), largest force (kJ/mol/nm) and charge, and the positions in nm.

    Parameters
    ----------
    system : MolecularSystem
    relax : bool
        Whether to minimise the energy from the structure's positions first.

    Raises
    ------
    MolflowError
        If the energy cannot be computed or is not finite.
    """
    built, _ = build(system)
    context = openmm.Context(
        built, make_integrator(system, system.temperature, 0), fitting_platform(built)
    )
    try:
        context.setPositions(system.start_positions())
        context.applyConstraints(1e-6)
        if relax:
            minimise(system, context, _TOLERANCE, _STEPS)
        state = context.getState(energy=True, forces=True, positions=True)
    except Exception as error:  # what OpenMM and potentials raise
        reason = str(error).strip().partition("\n")[0]
        raise MolflowError(
            f"no energy could be computed of '{system.name}': {reason}."
        ) from error
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = np.linalg.norm(state.getForces(asNumpy=True)._value, axis=1)
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise MolflowError(
            f"the energy of '{system.name}' is not finite at the structure's positions: give a "
            "structure that does not clash, and see that parameters are numbers."
        )
    found = {
        "energy": energy, "largest_force": float(forces.max()), "charge": _charge(system, built),
        "degrees_of_freedom": 3 * built.getNumParticles() - built.getNumConstraints(),
        "constraints": built.getNumConstraints(),
    }  # fmt: skip
    return found, np.array(state.getPositions(asNumpy=True)._value)


def _charge(system: MolecularSystem, built: openmm.System) -> float | None:
    if system.potential is not None:
        return float(system.potential.charge)
    return total_charge(built)


def understand(system: MolecularSystem) -> dict:
    """Return chains, residues, bonds, stereocentres, torsions and the cost of a step."""
    topology = system.topology()
    built, _ = build(system)
    _check_bonds(system, topology, built)
    torsions, labels = torsion_list(topology), residue_labels(topology)
    platform, seconds = cost_of_step(system)
    return {
        "atoms": topology.n_atoms,
        "chains": topology.n_chains,
        "residues": [residue.name for residue in topology.residues],
        "bonds": topology.n_bonds,
        "stereocentres": [_place(topology.atom(c[0]), labels) for c in stereocentres(topology)],
        "torsions": [torsion.name for torsion in torsions],
        "platform": platform,
        "seconds_a_step": seconds,
    }


def _place(atom, labels: list[str]) -> str:
    """Return the name of an atom, with its chain where several have such a residue."""
    return str(atom) + labels[atom.residue.index].removeprefix(str(atom.residue))


def cost_of_step(system: MolecularSystem) -> tuple[str, float]:
    """Return the fastest platform here, and the seconds that a step of dynamics takes on it."""
    if system.potential is not None:
        return "Reference", _seconds_of(system, build(system)[0])
    platform, speeds = fastest_platform(system)
    return platform, 1 / speeds[platform]


def _check_bonds(system: MolecularSystem, topology, built: openmm.System) -> None:
    """Raise `MolflowError` if a System has a bond that the structure has not."""
    known = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    for force in built.getForces():
        if type(force) is openmm.HarmonicBondForce:
            for k in range(force.getNumBonds()):
                a, b, *_ = force.getBondParameters(k)
                elements = {topology.atom(i).element.symbol for i in (a, b)}
                if frozenset((a, b)) not in known and "H" not in elements:
                    raise MolflowError(
                        f"the forces of '{system.name}' have a bond between "
                        f"{topology.atom(a)} and {topology.atom(b)} that the structure has not: "
                        "add its CONECT line, or give both of the same molecule."
                    )


def _seconds_of(system: MolecularSystem, built: openmm.System) -> float:
    import time

    context = openmm.Context(
        built, make_integrator(system, system.temperature, 0), fitting_platform(built)
    )
    place, rng = system.start_positions(), np.random.default_rng(0)
    context.setPositions(place)
    context.getState(forces=True)
    start, count = time.perf_counter(), 0
    # On a busy machine what is short is over before others are served.
    while count < _EVALUATIONS or time.perf_counter() - start < _MEASURING:
        # Where it has just been an SCF has its answer already.
        context.setPositions(place + _MOVE * rng.standard_normal(place.shape))
        context.getState(forces=True)
        count += 1
    return (time.perf_counter() - start) / count


def in_words(system: MolecularSystem, found: dict, notes: tuple[str, ...]) -> str:
    """Return what was understood as lines for a terminal."""
    counts = Counter(found["residues"])
    residues = "-".join(found["residues"]) if len(found["residues"]) <= 20 else ", ".join(
        f"{count} {name}" for name, count in counts.most_common(8))  # fmt: skip
    lines = [
        f"{system.name}: {found['atoms']:,} atoms, {_count(found['chains'], 'chain')}, "
        f"{_count(len(found['residues']), 'residue')} ({residues}), "
        f"{_count(found['bonds'], 'bond')}, charge {_shown_charge(found['charge'])}",
        f"  {_listed(found['stereocentres'], 'stereocentre')}",
        f"  {_listed(found['torsions'], 'torsion')}",
        f"  {_energy_words(system)}; {system.temperature:g} K, friction {system.friction:g}/ps, "
        f"time step {system.timestep:g} fs, {_count(found['constraints'], 'constraint')}",
        f"  energy {found['energy']:.1f} kJ/mol, largest force {found['largest_force']:.0f} "
        f"kJ/mol/nm; {1e3 * found['seconds_a_step']:.3g} ms a step ({found['platform']}), "
        f"1 ns takes {_duration(1e6 / system.timestep * found['seconds_a_step'])} of one core",
    ]
    if found["largest_force"] > _STRAINED:
        lines.append("  The structure is strained: dynamics begins with a minimisation.")
    for name, selection in system.selections.items():
        lines.append(
            f"  {system.name}:{name} is {len(selection.atoms)} atoms; energies are those of the "
            "whole box, and of the selection alone there are none"
        )
    return "\n".join([*lines, *(f"  Note: {note}" for note in notes)])


def _energy_words(system: MolecularSystem) -> str:
    if system.potential is not None:
        solvent = f" in {system.potential.solvent}" if system.potential.solvent else ""
        return f"potential {system.potential.name}{solvent}"
    if system.system_xml is not None:
        return f"forces of {system.system_xml}"
    cutoff = f", cutoff {system.nonbonded_cutoff:g} nm" if system.nonbonded_cutoff else ""
    return f"force field {' + '.join(system.forcefield)}, {system.nonbonded_method}{cutoff}"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def _listed(names: list[str], word: str, most: int = 8) -> str:
    if not names:
        return f"no {word}"
    shown = ", ".join(names[:most]) + (" ..." if len(names) > most else "")
    return f"{_count(len(names), word)}: {shown}"


def _shown_charge(charge: float | None) -> str:
    return "unknown" if charge is None else f"{round(charge, 3) + 0:+g}" if abs(
        charge) > 5e-4 else "0"  # fmt: skip


def _duration(seconds: float) -> str:
    for unit_, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit_}"
    return f"{seconds:.2g} s"
