"""Energies and forces of batches."""

import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.md.build import make_simulation
from molflow.md.energies import EnergyWorkers, energies_and_forces, potential_energies
from molflow.systems import load_system


@pytest.fixture(scope="module")
def system():
    return load_system("alanine_dipeptide")


@pytest.fixture(scope="module")
def frames(system):
    rng = np.random.default_rng(1)
    return system.start_positions() + 0.005 * rng.standard_normal((12, 22, 3))


def test_energies_are_those_of_a_single_context(system, frames):
    simulation = make_simulation(system, 300.0, 1, "Reference")
    expected = []
    for frame in frames:
        simulation.context.setPositions(frame)
        expected.append(simulation.context.getState(energy=True).getPotentialEnergy()._value)
    assert potential_energies(system, frames).tolist() == expected


def test_processes_give_the_same_in_order(system, frames):
    alone = energies_and_forces(system, frames, jobs=1)
    together = energies_and_forces(system, frames, jobs=2)
    assert np.array_equal(alone[0], together[0]) and np.array_equal(alone[1], together[1])


def test_forces_are_minus_the_gradient(system, frames):
    _, forces = energies_and_forces(system, frames[:1])
    rng = np.random.default_rng(2)
    for _ in range(3):
        direction = rng.standard_normal((22, 3))
        step = 1e-6 * direction
        ends = potential_energies(system, np.stack([frames[0] + step, frames[0] - step]))
        slope = -np.sum(forces[0] * direction)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_energy_ignores_rigid_motion_and_knows_single_precision(system, frames):
    angle = 0.7
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    energies = potential_energies(system, frames)
    moved = potential_energies(system, frames @ turn.T + 3.0)
    assert np.abs(energies - moved).max() < 1e-7
    rounded = potential_energies(system, frames.astype(np.float32))
    assert 1e-7 < np.abs(energies - rounded).max() < 0.05


def test_coinciding_atoms_have_infinite_energy(system, frames):
    broken = frames[:2].copy()
    broken[0, 3] = broken[0, 20]
    energies = potential_energies(system, broken)
    assert energies[0] == np.inf and np.isfinite(energies[1])


def test_no_frames(system):
    energies, forces = energies_and_forces(system, np.empty((0, 22, 3)))
    assert energies.shape == (0,) and forces.shape == (0, 22, 3)


def test_wrong_input_is_refused(system, frames):
    with pytest.raises(MolflowError, match=r"shape \(12, 21, 3\)"):
        potential_energies(system, frames[:, 1:])
    with pytest.raises(MolflowError, match=r"shape \(22, 3\)"):
        potential_energies(system, frames[0])
    broken = frames.copy()
    broken[3, 0, 0], broken[5, 1, 1] = np.nan, np.inf
    with pytest.raises(MolflowError, match="2 of 12 configurations"):
        potential_energies(system, broken)
    with pytest.raises(MolflowError, match="jobs is 0"):
        potential_energies(system, frames, jobs=0)
    with pytest.raises(MolflowError, match="keeps only some atoms"):
        potential_energies(load_system("alanine_dipeptide:heavy"), frames)


@pytest.mark.parametrize("jobs", [1, 2])
def test_forces_of_the_field_add_up_in_batches(system, frames, jobs):
    total = potential_energies(system, frames)
    with EnergyWorkers(system, jobs) as workers:
        first, second = workers.by_force(frames[:7]), workers.by_force(frames[7:])
        assert np.array_equal(workers.energies(frames), total)
        assert np.array_equal(workers.energies(frames[3:5]), total[3:5])
    parts = {name: np.r_[first[name], second[name]] for name in first}
    assert sum(parts.values()) == pytest.approx(total, rel=1e-10)
    assert {"HarmonicBondForce", "HarmonicAngleForce", "NonbondedForce"} <= parts.keys()


def test_energy_of_the_bonds_is_its_formula(system, frames):
    import openmm

    from molflow.md.build import build

    built, _ = build(system)
    (bonds,) = [f for f in built.getForces() if isinstance(f, openmm.HarmonicBondForce)]
    exact = np.zeros(len(frames))
    for k in range(bonds.getNumBonds()):
        i, j, length, constant = bonds.getBondParameters(k)
        distance = np.linalg.norm(frames[:, i] - frames[:, j], axis=1)
        exact += 0.5 * constant._value * (distance - length._value) ** 2
    with EnergyWorkers(system, 1) as workers:
        assert workers.by_force(frames)["HarmonicBondForce"] == pytest.approx(exact, rel=1e-9)


def test_parts_of_a_stream_are_those_of_evenly_spaced_frames(system, monkeypatch):
    from molflow.md import energy_parts

    monkeypatch.setattr(energy_parts, "SAMPLED", 10)
    rng = np.random.default_rng(4)
    stream = system.start_positions() + 0.003 * rng.standard_normal((50, 22, 3))
    with EnergyWorkers(system, 1) as workers:
        parts = energy_parts.EnergyParts(workers, 50)
        found = np.concatenate([parts.energies(x) for x in np.split(stream, [3, 4, 18, 41])])
        exact = workers.by_force(stream[::5])
    assert np.array_equal(found, potential_energies(system, stream))
    assert parts.medians() == pytest.approx({k: np.median(v) for k, v in exact.items()})
