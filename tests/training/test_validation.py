import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molflow.analysis.torsions import phi_psi
from molflow.systems import load_system
from molflow.training.validation import EnsembleScore

SYSTEM = load_system("alanine_dipeptide")
TOPOLOGY = SYSTEM.topology()


def jittered(count, width, seed):
    noise = np.random.default_rng(seed).standard_normal((count, 22, 3))
    return (SYSTEM.start_positions() + width * noise).astype(np.float32)


@pytest.fixture(scope="module")
def score():
    return EnsembleScore(TOPOLOGY, jittered(2000, 0.004, 0))


def test_the_same_ensemble_scores_perfectly(score):
    result = score(jittered(2000, 0.004, 0))
    assert result["fes_rmse"] == pytest.approx(0.0, abs=1e-9)
    assert result["delta_f_error"] == pytest.approx(0.0, abs=1e-9) or np.isnan(
        result["delta_f_error"]
    )
    assert (result["intact"], result["bond_sd_ratio"]) == (1.0, pytest.approx(1.0))


def test_half_the_noise_halves_the_spread_of_bonds(score):
    assert score(jittered(2000, 0.002, 1))["bond_sd_ratio"] == pytest.approx(0.5, rel=0.05)


def test_one_stretched_bond_breaks_a_molecule(score):
    positions = jittered(100, 0.004, 2)
    bonds = [{a.index, b.index} for a, b in TOPOLOGY.bonds]
    assert {8, 10} in bonds
    along = positions[:25, 10] - positions[:25, 8]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    positions[:25, 10:14] += np.float32(0.08) * along[:, None]  # the methyl group, away from CA
    assert score(positions)["intact"] == 0.75


def test_another_place_in_torsion_space_is_far(score):
    positions = jittered(500, 0.004, 3)
    behind_phi = np.arange(9, 22)
    axis = SYSTEM.start_positions()[8] - SYSTEM.start_positions()[6]
    quarter = Rotation.from_rotvec(np.pi / 2 * axis / np.linalg.norm(axis))
    turned = positions.copy()
    offset = positions[:, behind_phi] - positions[:, 8, None]
    turned[:, behind_phi] = offset @ quarter.as_matrix().T.astype(np.float32)
    turned[:, behind_phi] += positions[:, 8, None]
    phi, other = (phi_psi(mdtraj.Trajectory(x, TOPOLOGY))[:, 0] for x in (positions, turned))
    turn = np.angle(np.exp(1j * (other - phi)))
    assert np.abs(np.abs(turn) - np.pi / 2).max() < 0.2
    result = score(turned)
    assert result["fes_rmse"] > 0.5
    assert result["intact"] > 0.9  # no bond knows of it
