import mdtraj
import numpy as np
import pytest
from molecules import chain, zigzag
from scipy.spatial.transform import Rotation

from molflow.analysis.torsions import phi_psi
from molflow.maps.denoiser.validation import EnsembleScore
from molflow.systems import load_system

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


@pytest.mark.parametrize("torsions", [0, 1, 2, 30])
def test_chains_of_any_length_are_scored(torsions):
    """A chain without torsions by its distances, the others torsion by torsion."""
    rng = np.random.default_rng(torsions)
    topology = chain("C" * (torsions + 3))

    def frames(centre, seed):
        angles = centre + 0.3 * rng.standard_normal((400, torsions))
        return zigzag(angles, seed=seed)

    score = EnsembleScore(topology, frames(0.5, 0))
    right, wrong = score(frames(0.5, 1)), score(1.1 * frames(2.5, 2))
    name = "torsion_js_distance" if torsions else "distance_w1"
    assert 5 * right[name] < wrong[name]
    assert right["intact"] == 1.0 and right["bond_sd_ratio"] == pytest.approx(1.0, abs=0.1)
    assert "fes_rmse" not in right and "delta_f_error" not in right


def test_distances_that_grow_by_a_tenth_are_that_far_off():
    positions = zigzag(np.zeros((50, 0)))
    score = EnsembleScore(chain("CCC"), positions)
    lengths = [np.linalg.norm(positions[:, a] - positions[:, b], axis=1).mean()
               for a, b in ((0, 1), (0, 2), (1, 2))]  # fmt: skip
    assert score(1.1 * positions)["distance_w1"] == pytest.approx(0.1 * np.mean(lengths), rel=1e-3)


def test_a_molecule_that_is_not_finite_is_no_reason_to_stop(score):
    positions = jittered(100, 0.004, 5)
    positions[3] = np.nan
    assert score(positions)["intact"] == 0.99
    assert score(np.full_like(positions, np.nan))["intact"] == 0.0


def test_residues_are_averaged():
    """Of two residues, one turned away: the mean of a perfect score and that of one alone."""
    peptide, alone = two_residues(), EnsembleScore(TOPOLOGY, jittered(200, 0.004, 6))
    assert [t.kind for t in EnsembleScore(peptide, doubled(jittered(200, 0.004, 6))).found] == [
        "phi", "phi", "psi", "psi",
    ]  # fmt: skip
    other = jittered(200, 0.004, 6)[:, :, [1, 0, 2]]  # the mirror image, of other torsions
    both = EnsembleScore(peptide, doubled(jittered(200, 0.004, 6)))
    found = both(np.concatenate([jittered(200, 0.004, 6), other + 2], axis=1))
    assert found["fes_rmse"] == pytest.approx(alone(other)["fes_rmse"] / 2, rel=1e-6)
    assert "delta_f_error" not in found


def two_residues():
    """Two alanine dipeptides in two chains."""
    return TOPOLOGY.join(TOPOLOGY)


def doubled(positions):
    return np.concatenate([positions, positions + 2], axis=1)
