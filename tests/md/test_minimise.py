"""Descents under a force field; those under a potential are in `test_potentials.py`."""

import numpy as np
import openmm
import pytest

from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.md.minimise import minimise
from molflow.systems import load_system


def test_a_descent_ends_by_the_clock():
    """After ten iterations, where OpenMM's own count of ten is as well; without a clock at rest."""
    system = load_system("alanine_dipeptide")
    rng = np.random.default_rng(0)
    start = system.start_positions() + 0.01 * rng.standard_normal((22, 3))
    built, _ = build(system)
    context = openmm.Context(built, openmm.VerletIntegrator(0.001), fitting_platform(built))

    def energy_after(**options):
        context.setPositions(start)
        whole = minimise(system, context, **options)
        return whole, context.getState(energy=True).getPotentialEnergy()._value

    cut, early = energy_after(seconds=0.0)
    whole, late = energy_after(seconds=600.0)
    assert (cut, whole) == (False, True)
    assert early == pytest.approx(energy_after(iterations=10)[1], abs=1e-6)
    assert late == pytest.approx(energy_after()[1], abs=1e-6) and late < early - 1.0
