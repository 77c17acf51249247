"""A potential: a spring between bonded atoms, as an OpenMM system.

A `system.yaml` chooses it by ``potential: {name: plug, options: {stiffness: 1000.0}}``.
"""

from __future__ import annotations

import openmm

from molflow.potentials import Potential, PotentialSettings


def springs(topology: openmm.app.Topology, settings: PotentialSettings) -> openmm.System:
    """Return a system with the masses of the atoms and springs of 0.1 nm; kJ/mol/nm²."""
    system, force = openmm.System(), openmm.HarmonicBondForce()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    for bond in topology.bonds():
        stiffness = settings.options.get("stiffness", 1000.0)
        force.addBond(bond.atom1.index, bond.atom2.index, 0.1, stiffness)
    system.addForce(force)
    return system


#: The version of the package is part of what an ensemble is known by.
SPRINGS = Potential("molflow-plug", springs, takes=frozenset({"stiffness"}))
