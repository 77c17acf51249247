"""Implicit solvent by OpenMM's own force has the energy of the formula that it replaces."""

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmm.app.internal.customgbforces import GBSAOBC2Force

from molflow.md.implicit import with_built_in_obc
from molflow.systems import load_system


def by_formula(**options):
    system = load_system("alanine_tripeptide")
    pdb = app.PDBFile(str(system.structure_path))
    built = app.ForceField(*system.forcefield).createSystem(pdb.topology, **options)
    return built, np.array(pdb.getPositions(asNumpy=True)._value)


def evaluate(built, positions):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(built, openmm.VerletIntegrator(1e-3), platform)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def test_energies_and_forces_are_those_of_the_formula():
    built, start = by_formula()
    replaced = openmm.XmlSerializer.clone(built)
    with_built_in_obc(replaced)
    names = [force.getName() for force in replaced.getForces()]
    assert "GBSAOBCForce" in names and "CustomGBForce" not in names
    rng = np.random.default_rng(0)
    for width in (0.0, 0.005, 0.02):
        positions = start + width * rng.standard_normal(start.shape)
        (energy, forces), (own, mine) = evaluate(built, positions), evaluate(replaced, positions)
        assert own == pytest.approx(energy, abs=1e-3)
        np.testing.assert_allclose(mine, forces, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("salt", [True, False])
def test_another_formula_stays(salt):
    if salt:
        built, _ = by_formula(implicitSolventKappa=1.0 / unit.nanometer)
    else:
        built, _ = by_formula(sasaMethod=None)
    assert any(isinstance(force, openmm.CustomGBForce) for force in built.getForces())
    with_built_in_obc(built)
    assert not any(isinstance(force, openmm.GBSAOBCForce) for force in built.getForces())


def test_radii_come_back():
    built, _ = by_formula()
    topology = app.PDBFile(str(load_system("alanine_tripeptide").structure_path)).topology
    radii = [values[0] for values in GBSAOBC2Force.getStandardParameters(topology)]
    with_built_in_obc(built)
    (own,) = (f for f in built.getForces() if isinstance(f, openmm.GBSAOBCForce))
    found = [own.getParticleParameters(k)[1]._value for k in range(own.getNumParticles())]
    assert found == pytest.approx(radii, abs=1e-12)
