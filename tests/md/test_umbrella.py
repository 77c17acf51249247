"""Umbrella sampling: the bias, the angle, the reweighting against quadrature, resuming."""

import mdtraj
import numpy as np
import openmm
import pytest

from molflow.errors import MolflowError
from molflow.files import read_arrays
from molflow.md.mbar import BiasedChain, delta_f_alpha_l, reduced_bias, unbiased_weights
from molflow.md.torsions import torsion, wrap
from molflow.md.umbrella import (
    UmbrellaPlan,
    phi_psi_atoms,
    run_chain,
    torsion_bias,
    umbrella,
)
from molflow.systems import load_system


@pytest.fixture(scope="module")
def system():
    return load_system("alanine_dipeptide")


def potential(phi):
    """A torsion potential in kT with a high barrier at 0 and a second, shallower well."""
    return 3.0 * np.cos(phi) + 2.0 * np.cos(phi - 1.2) + 1.5 * np.sin(2 * phi)


def exact_chains(rng, centres, k, chains, frames):
    """Independent samples of every biased density by inversion on a fine grid."""
    grid = np.linspace(-np.pi, np.pi, 20001)
    result = []
    for window, bias in enumerate(reduced_bias(grid, centres, k)):
        cumulative = np.cumsum(np.exp(-potential(grid) - bias))
        for _ in range(chains):
            uniform = rng.uniform(size=frames) * cumulative[-1]
            phi = np.interp(uniform, cumulative, grid)
            result.append(BiasedChain(window, phi, rng.uniform(-3, 3, frames)))
    return result


def quadrature():
    grid = np.linspace(-np.pi, np.pi, 200001)
    density = np.exp(-potential(grid))
    inside = density[(grid > 0) & (grid < 2)].sum()
    return -np.log(inside / (density.sum() - inside)), grid, density / density.sum()


def test_free_energy_and_moments_agree_with_quadrature():
    centres = UmbrellaPlan(windows=18).centres
    chains = exact_chains(np.random.default_rng(1), centres, 20.0, 3, 300)
    exact, grid, density = quadrature()
    result = delta_f_alpha_l(chains, centres, 20.0, np.random.default_rng(2), bootstrap=15)
    assert abs(result["value"] - exact) < 3 * result["error"]
    assert 0.005 < result["error"] < 0.15
    assert np.ptp(result["by_chain"]) < 6 * result["error"]
    phi, weights = unbiased_weights(chains, centres, 20.0)
    assert np.sum(weights * np.cos(phi)) == pytest.approx(np.sum(density * np.cos(grid)), abs=0.03)
    middle = 0.5 * (np.array(result["edges"])[1:] + np.array(result["edges"])[:-1])
    found = np.array(result["pmf"])
    expected = potential(middle) - potential(middle).min()
    low = expected < 4
    assert np.sqrt(np.mean((found - expected)[low] ** 2)) < 0.25


def test_errors_cover_the_truth_over_repetitions():
    centres, exact = UmbrellaPlan(windows=12).centres, quadrature()[0]
    scores = []
    for seed in range(8):
        chains = exact_chains(np.random.default_rng(seed), centres, 10.0, 2, 60)
        result = delta_f_alpha_l(chains, centres, 10.0, np.random.default_rng(seed), bootstrap=2)
        scores.append((result["value"] - exact) / result["mbar_error"])
    assert 0.5 < np.sqrt(np.mean(np.square(scores))) < 1.7


def test_one_chain_a_window_is_refused():
    chains = exact_chains(np.random.default_rng(0), np.array([-1.0, 1.0]), 2.0, 1, 20)
    with pytest.raises(MolflowError, match="at least 2"):
        delta_f_alpha_l(chains, np.array([-1.0, 1.0]), 2.0, np.random.default_rng(0))


def test_bias_force_is_periodic_and_matches_the_formula(system):
    atoms, _ = phi_psi_atoms(system)
    assert atoms == [4, 6, 8, 14]
    built = openmm.System()
    for _ in range(22):
        built.addParticle(1.0)
    built.addForce(torsion_bias("phi", atoms))
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(built, openmm.VerletIntegrator(0.001), reference)
    context.setParameter("phi_k", 7.0)
    rng = np.random.default_rng(3)
    for centre in (-3.0, 0.4, 3.0):
        context.setParameter("phi_0", centre)
        x = system.start_positions() + 0.05 * rng.standard_normal((22, 3))
        context.setPositions(x)
        energy = context.getState(energy=True).getPotentialEnergy()._value
        phi = torsion(x[None], atoms)
        assert energy == pytest.approx(reduced_bias(phi, [centre], 7.0)[0, 0], rel=1e-6)


def test_torsion_agrees_with_mdtraj(system):
    x = system.start_positions() + 0.05 * np.random.default_rng(4).standard_normal((50, 22, 3))
    ours = torsion(x, [6, 8, 14, 16])
    theirs = mdtraj.compute_dihedrals(mdtraj.Trajectory(x, system.topology()), [[6, 8, 14, 16]])
    assert np.abs(wrap(ours - theirs[:, 0])).max() < 1e-4


def test_chains_start_apart_stay_in_their_window_and_resume(system, tmp_path):
    plan = UmbrellaPlan(windows=2, chains=2, time=4.0, equilibration=1.0, seed=5)
    alone = tmp_path / "alone.npz"
    run_chain(system, plan, 1, 0, alone)
    (tmp_path / "run").mkdir()
    run_chain(system, plan, 0, 1, tmp_path / "run" / "window-00-1.npz")
    result = umbrella(system, tmp_path / "run", plan, jobs=2)
    again = read_arrays(tmp_path / "run" / "window-01-0.npz")
    for name, values in read_arrays(alone).items():
        assert np.array_equal(values, again[name])  # whatever ran before in the same process
    for chain in result["chains"]:
        # The force constant of 80 kT/rad^2 leaves a width of 0.11 rad and a shift by the PMF.
        assert abs(chain["mean_offset"]) < 0.35
        assert chain["frames"] == 8
    assert umbrella(system, tmp_path / "run", plan, jobs=1) == result
    with pytest.raises(MolflowError, match="another ensemble or plan"):
        umbrella(system, tmp_path / "run", UmbrellaPlan(windows=4), jobs=1)
