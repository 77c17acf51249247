"""The same implicit solvent, computed in a fraction of the time."""

from __future__ import annotations

import openmm
from openmm.app.internal.customgbforces import GBSAOBC2Force

#: nm by which the radii in the parameters of OpenMM's formula are smaller.
_OFFSET = 0.009


def with_built_in_obc(system: openmm.System) -> None:
    """Replace an OBC2 solvent that is written as a formula by OpenMM's own force, in place.

    ``implicit/obc2.xml`` writes it as a `CustomGBForce`; `GBSAOBCForce` is the same energy
    (Onufriev, Bashford and Case 2004, with the surface term of Schaefer and Karplus) with
    constants of seven digits, and six times as fast on one core. Another formula, with salt or
    another surface term, stays as it is.
    """
    for index, force in enumerate(system.getForces()):
        if isinstance(force, openmm.CustomGBForce) and _formula(force) == _known():
            system.addForce(_built_in(force))
            system.removeForce(index)
            return


def _formula(force: openmm.CustomGBForce) -> tuple:
    values = range(force.getNumComputedValues())
    terms = range(force.getNumEnergyTerms())
    return (
        [force.getComputedValueParameters(k) for k in values],
        [force.getEnergyTermParameters(k) for k in terms],
        [force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())],
        force.getNumGlobalParameters(), force.getNumExclusions(), force.getNumTabulatedFunctions(),
        force.getNonbondedMethod(),
    )  # fmt: skip


def _known() -> tuple:
    """Return the formula that OpenMM would write for no salt, water and no cutoff."""
    known = GBSAOBC2Force(SA="ACE")
    known.addParticle([0.0, 0.15, 0.8])
    known.finalize()
    return _formula(known)


def _built_in(force: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    made = openmm.GBSAOBCForce()
    made.setSolventDielectric(78.5)
    made.setSoluteDielectric(1.0)
    made.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    for k in range(force.getNumParticles()):
        charge, radius, scaled = force.getParticleParameters(k)
        made.addParticle(charge, radius + _OFFSET, scaled / radius)
    return made
