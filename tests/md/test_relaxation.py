import numpy as np
import pytest

from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.md.energies import potential_energies
from molflow.md.relaxation import relax
from molflow.systems import load_system

SYSTEM = "alanine_dipeptide"


@pytest.fixture(scope="module")
def starts():
    return find_reference(SYSTEM).positions[::300]


def test_walkers_start_where_they_are_put_and_depend_on_nothing_else(starts):
    system = load_system(SYSTEM)
    energies, positions = relax(system, starts[:4], 3, 0.01, seed=5)
    assert energies.shape == (4, 4) and positions.shape == (4, 4, 22, 3)
    assert np.allclose(energies[:, 0], potential_energies(system, starts[:4]), atol=1e-6)
    assert np.array_equal(positions[:, 0], starts[:4])
    again, _ = relax(system, starts[:2], 3, 0.01, seed=5)
    assert np.array_equal(again, energies[:2])
    other, _ = relax(system, starts[:2], 3, 0.01, seed=6)
    assert not np.any(other[:, 1:] == energies[:2, 1:])


def test_a_minimum_warms_up_to_the_energy_of_md(starts):
    """From one frame at rest in a minimum, the mean energy rises to that of the reference."""
    system = load_system(SYSTEM)
    reference = find_reference(SYSTEM)
    energies, positions = relax(system, np.repeat(starts[:1], 16, axis=0), 6, 0.4, seed=1)
    late = energies[:, 3:].mean(axis=1)
    error = late.std(ddof=1) / 16**0.5
    assert abs(late.mean() - reference.energies.mean()) < 4 * error + 2.5  # the basin's own mean
    assert np.ptp(positions[:, -1], axis=0).max() > 0.05


def test_a_walker_that_blows_up_is_nan_from_there_on(starts):
    system = load_system(SYSTEM)
    bad = starts[:2].copy()
    bad[0, 1] = bad[0, 0]
    energies, positions = relax(system, bad, 2, 0.1, seed=0)
    assert np.isnan(energies[0, -1]) and np.isnan(positions[0, -1]).all()
    assert np.isfinite(energies[1]).all() and np.isfinite(positions[1]).all()


def test_impossible_arguments_are_refused(starts):
    with pytest.raises(MolflowError, match="whole number of time steps of 1 fs"):
        relax(load_system(SYSTEM), starts[:1], 1, 0.0015, seed=0)
    with pytest.raises(MolflowError, match="keeps only some atoms"):
        relax(load_system(f"{SYSTEM}:heavy"), starts[:1], 1, 0.1, seed=0)
