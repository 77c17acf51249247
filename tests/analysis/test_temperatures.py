"""Temperatures: derivatives by differences, closed forms, and OpenMM's dynamics."""

import mdtraj
import numpy as np
import openmm
import pytest

from molflow.analysis.kinetics.temperatures import (
    atom_temperatures,
    group_means,
    kinetic_table,
    masses_of,
    mode_temperatures,
    modes,
    width_temperatures,
)
from molflow.analysis.molecule.geometry import measure, terms, torsion_terms
from molflow.analysis.molecule.internal_rates import gradient, rates
from molflow.md.build import build
from molflow.systems import load_system
from molflow.units import GAS_CONSTANT, thermal_energy

SYSTEM = load_system("alanine_dipeptide")
TOPOLOGY, START = SYSTEM.topology(), SYSTEM.start_positions().astype(float)
MASSES = masses_of(TOPOLOGY)
TERMS = modes(TOPOLOGY)


def thermal(n, temperature=300.0, seed=0):
    """Maxwell-Boltzmann velocities (n, atoms, 3), and positions that jitter about the start."""
    rng = np.random.default_rng(seed)
    width = np.sqrt(thermal_energy(temperature) / MASSES)[:, None]
    return START + 0.005 * rng.normal(size=(n, 22, 3)), width * rng.normal(size=(n, 22, 3))


def test_every_bond_angle_and_torsion_is_there():
    kinds = [term.kind for term in TERMS]
    assert [kinds.count(kind) for kind in ("bond", "angle", "torsion")] == [21, 36, 7]
    assert ("1:C", "2:N") in {tuple(t.name.split(" – ")[1:3]) for t in torsion_terms(TOPOLOGY)}


def test_rates_are_those_of_the_terms_along_a_motion():
    positions, velocities = thermal(3)
    everything = TERMS + [term for term in terms(TOPOLOGY) if term.kind == "improper"]
    rate, inverse = rates(positions, velocities, MASSES, everything)
    step = 1e-6
    ends = [measure(positions + sign * step * velocities, everything) for sign in (1, -1)]
    difference = (ends[0] - ends[1] + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(rate, difference / (2 * step), rtol=1e-6, atol=1e-6)
    # B M^-1 B^T of a bond is the inverse of its reduced mass.
    bond = TERMS[0]
    assert inverse[0, 0] == pytest.approx((1 / MASSES[list(bond.atoms)]).sum(), rel=1e-12)
    for term in everything:  # nothing changes when the molecule moves or turns as a whole
        row = gradient(positions[:1], term)[0]
        np.testing.assert_allclose(row.sum(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(
            np.cross(positions[0, list(term.atoms)], row).sum(axis=0), 0, atol=1e-9
        )


def test_thermal_velocities_have_their_temperature_in_every_mode():
    positions, velocities = thermal(20000, 350.0)
    found = mode_temperatures(positions, velocities, MASSES, TERMS) / 350.0
    # Each is a chi-squared variable of one degree of freedom: mean 1, variance 2.
    np.testing.assert_allclose(found.mean(axis=0), 1.0, atol=4.5 * np.sqrt(2 / 20000))
    np.testing.assert_allclose(found.var(axis=0), 2.0, rtol=0.15)
    per_atom = atom_temperatures(velocities, MASSES) / 350.0
    np.testing.assert_allclose(per_atom.mean(axis=0), 1.0, atol=4.5 * np.sqrt(2 / 60000))
    cold = mode_temperatures(positions, 0.9 * velocities, MASSES, TERMS) / 350.0
    np.testing.assert_allclose(cold, 0.81 * found, rtol=1e-6, atol=1e-12)


def test_a_cold_bond_shows_in_the_bonds_alone():
    positions, velocities = thermal(4000)
    a, b = TERMS[4].atoms
    along = positions[:, b] - positions[:, a]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    reduced = 1 / (1 / MASSES[a] + 1 / MASSES[b])
    rate = np.sum(along * (velocities[:, b] - velocities[:, a]), axis=1, keepdims=True)
    velocities[:, a] += reduced / MASSES[a] * rate * along
    velocities[:, b] -= reduced / MASSES[b] * rate * along
    found = mode_temperatures(positions, velocities, MASSES, TERMS).mean(axis=0)
    frozen = next(i for i, term in enumerate(TERMS) if term.atoms == (a, b))
    assert found[frozen] == pytest.approx(0, abs=1e-9)
    table = kinetic_table(positions, velocities, TOPOLOGY, np.arange(4000) % 20)
    assert table["modes"]["bond"]["value"] < 289 < 290 < table["modes"]["torsion"]["value"]
    assert set(table["elements"]) == {"C", "H", "N", "O"}


def test_widths_of_harmonic_modes():
    bonds = [term for term in terms(TOPOLOGY) if term.kind == "bond"]
    rng = np.random.default_rng(1)
    xyz = np.zeros((2, 20000, 2, 3))
    xyz[0, :, 1, 0] = 0.1 + 0.003 * rng.normal(size=20000)
    xyz[1, :, 1, 0] = 0.1 + 0.002 * rng.normal(size=20000)
    pair = bonds[0].__class__("bond", (0, 1), "pair")
    found = width_temperatures(xyz[0], xyz[1], [pair], 300.0)
    assert found[0] == pytest.approx(300 * 2.25, rel=0.04)


def test_errors_are_those_of_independent_pieces():
    rng = np.random.default_rng(2)
    runs = np.repeat(np.arange(32), 200)
    # Values that stay within a run: 32 independent ones, not 6,400.
    values = np.repeat(rng.normal(300, 10, 32), 200)[:, None]
    found = group_means(values, runs, {"all": [0], "none": []})
    assert found.keys() == {"all"}
    assert found["all"]["error"] == pytest.approx(10 / np.sqrt(32), rel=0.3)
    one = group_means(rng.normal(300, 10, (6400, 1)), np.zeros(6400), {"all": [0]})
    assert one["all"]["error"] == pytest.approx(10 / 80, rel=0.5)
    uneven = group_means(np.array([[1.0], [1.0], [4.0]]), np.array([0, 0, 1]), {"all": [0]})
    assert uneven["all"]["value"] == pytest.approx(2.0)


@pytest.fixture(scope="module")
def dynamics():
    """20 ps of OpenMM's own Langevin dynamics of free atoms."""
    built, _ = build(SYSTEM)
    kept = [i for i, force in enumerate(built.getForces()) if "CMMotion" in force.getName()]
    for index in kept:  # so that every atom has its three degrees of freedom
        built.removeForce(index)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 20.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(built, integrator, platform)
    context.setPositions(START)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(1000)
    frames = []
    for _ in range(400):
        integrator.step(50)
        state = context.getState(positions=True, velocities=True)
        frames.append([state.getPositions(asNumpy=True)._value,
                       state.getVelocities(asNumpy=True)._value])  # fmt: skip
    return np.moveaxis(np.array(frames), 1, 0)


def test_molecular_dynamics_is_at_its_temperature(dynamics):
    table = kinetic_table(*dynamics, TOPOLOGY, np.zeros(400))
    rows = {**table["all"], **table["elements"], **table["modes"]}
    assert set(rows) == {"atoms", "C", "H", "N", "O", "bond", "angle", "torsion"}
    for name, row in rows.items():
        assert row["error"] < 30.0, name
        assert abs(row["value"] - 300.0) < 4.5 * row["error"] + 3.0, name
    kinetic = 0.5 * np.sum(MASSES[:, None] * dynamics[1] ** 2, axis=(1, 2)).mean()
    assert rows["atoms"]["value"] == pytest.approx(kinetic / (33 * GAS_CONSTANT), rel=1e-9)


def test_masses_are_the_force_fields():
    built, _ = build(SYSTEM)
    known = [built.getParticleMass(i)._value for i in range(22)]
    np.testing.assert_allclose(MASSES, known, rtol=2e-3)
    assert isinstance(TOPOLOGY, mdtraj.Topology)
