"""The bonded terms of an OpenMM system, which maps of dynamics know by formula."""

from __future__ import annotations

import openmm
from openmm import unit

from molflow.bonded_terms import BondedTerms

_ENERGY = unit.kilojoule_per_mole
_STIFF = {"bond": _ENERGY / unit.nanometer**2, "angle": _ENERGY / unit.radian**2}


def bonded_terms(system: openmm.System) -> BondedTerms:
    """Return the harmonic bonds and angles and the periodic torsions of a system.

    What other classes of forces do is not among them: a map of dynamics learns it.
    """
    bonds, angles, torsions = [], [], []
    for force in system.getForces():
        # The exact classes: one that is derived from them may mean something else.
        kind = type(force)
        if kind is openmm.HarmonicBondForce and not force.usesPeriodicBoundaryConditions():
            for index in range(force.getNumBonds()):
                *atoms, length, k = force.getBondParameters(index)
                values = length.value_in_unit(unit.nanometer), k.value_in_unit(_STIFF["bond"])
                bonds.append((*atoms, *values))
        elif kind is openmm.HarmonicAngleForce and not force.usesPeriodicBoundaryConditions():
            for index in range(force.getNumAngles()):
                *atoms, angle, k = force.getAngleParameters(index)
                values = angle.value_in_unit(unit.radian), k.value_in_unit(_STIFF["angle"])
                angles.append((*atoms, *values))
        elif kind is openmm.PeriodicTorsionForce and not force.usesPeriodicBoundaryConditions():
            for index in range(force.getNumTorsions()):
                *atoms, n, phase, k = force.getTorsionParameters(index)
                values = phase.value_in_unit(unit.radian), k.value_in_unit(_ENERGY)
                torsions.append((*atoms, n, *values))
    return BondedTerms(tuple(bonds), tuple(angles), tuple(torsions))
