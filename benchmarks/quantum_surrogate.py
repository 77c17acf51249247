"""A cheap conservative stand-in for a potential: fitted valence terms on a force field's rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import yaml

from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.systems import MolecularSystem, load_system
from molflow.valence.fit import fit_valence
from molflow.valence.formula import ValenceFormula

#: Forces of a force field that valence terms take the place of.
_BONDED = openmm.HarmonicBondForce, openmm.HarmonicAngleForce, openmm.PeriodicTorsionForce
_QUARTIC = "a1*d + a2*d^2 + a3*d^3 + a4*d^4; d = {} - q0"
_PLACES = ("a1", "a2", "a3", "a4")
_CALLS = {2: "distance", 3: "angle"}


def without_bonded(base: MolecularSystem) -> openmm.System:
    """Return what a force field says beyond bonds, angles and torsions, as an OpenMM System."""
    system, _ = build(base)
    for index in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(index), _BONDED):
            system.removeForce(index)
    return system


def forces_of(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    """Return forces of conformations (frames, atoms, 3), kJ/mol/nm."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), fitting_platform(system))
    found = []
    for frame in positions:
        context.setPositions(np.asarray(frame, np.float64))
        found.append(context.getState(forces=True).getForces(asNumpy=True)._value)
    return np.array(found)


def add_formula(system: openmm.System, formula: ValenceFormula) -> None:
    """Add the energy of a formula without straight angles to an OpenMM System."""
    if formula.straight:
        raise ValueError("the formula has straight angles, which have no form here")
    bonds = openmm.CustomBondForce(_QUARTIC.format("r"))
    angles = openmm.CustomAngleForce(_QUARTIC.format("theta"))
    for force, rows, add, atoms in (
        (bonds, formula.bonds, bonds.addBond, 2), (angles, formula.angles, angles.addAngle, 3),
    ):  # fmt: skip
        for name in ("q0", *_PLACES):
            (force.addPerBondParameter if atoms == 2 else force.addPerAngleParameter)(name)
        for row in rows:
            add(*map(int, row[:atoms]), list(row[atoms:]))
    series = "+".join(f"p{m}*cos({m}*theta)" for m in (1, 2, 3, 4))
    torsions = openmm.CustomTorsionForce(series)
    for m in (1, 2, 3, 4):
        torsions.addPerTorsionParameter(f"p{m}")
    for row in formula.torsions:
        torsions.addTorsion(*map(int, row[:4]), list(row[4:]))
    known = [(row[:2], row[2]) for row in formula.bonds]
    known += [(row[:3], row[3]) for row in formula.angles]
    couplings: dict[tuple[int, int], openmm.CustomCompoundBondForce] = {}
    for a, b, k in formula.couplings:
        (first, q0), (second, q1) = sorted((known[int(a)], known[int(b)]), key=lambda c: len(c[0]))
        sizes = len(first), len(second)
        if sizes not in couplings:
            places = [f"p{n + 1}" for n in range(sum(sizes))]
            one, two = (f"{_CALLS[len(part)]}({','.join(part)})"
                        for part in (places[: sizes[0]], places[sizes[0] :]))  # fmt: skip
            force = openmm.CustomCompoundBondForce(sum(sizes), f"k*({one} - q0)*({two} - q1)")
            for name in ("k", "q0", "q1"):
                force.addPerBondParameter(name)
            couplings[sizes] = force
        couplings[sizes].addBond([int(n) for n in (*first, *second)], [k, q0, q1])
    for force in (bonds, angles, torsions, *couplings.values()):
        system.addForce(force)


def surrogate(
    base: MolecularSystem, positions: np.ndarray, forces: np.ndarray, folder: Path
) -> tuple[MolecularSystem, dict]:
    """Return a system whose energy is near that of a potential, and how near its forces are.

    Valence terms are fitted to the potential's forces less those of a force field's other terms.

    Parameters
    ----------
    base : MolecularSystem
        With the force field.
    positions, forces : ndarray, (frames, atoms, 3)
        nm and kJ/mol/nm, of the potential.
    folder : Path
        Of the system that is written.
    """
    system = without_bonded(base)
    topology = base.topology()
    numbers = [atom.element.atomic_number for atom in topology.atoms]
    bonds = [(a.index, b.index) for a, b in topology.bonds]
    fit = fit_valence(numbers, bonds, positions, forces - forces_of(system, positions))
    add_formula(system, fit.formula)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "structure.pdb").write_bytes(base.structure_path.read_bytes())
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    text = {
        "name": folder.name, "structure": "structure.pdb", "system_xml": "system.xml",
        "temperature": base.temperature, "friction": base.friction, "timestep": base.timestep,
    }  # fmt: skip
    (folder / "system.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    return load_system(folder), {
        "force": float(np.sqrt(np.mean(np.square(forces, dtype=np.float64)))), "rest": fit.rest,
        "frames": len(positions), "coefficients": fit.coefficients,
    }  # fmt: skip
