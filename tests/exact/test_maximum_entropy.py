"""Means by maximum entropy: Gaussians in closed form, least relative entropy, the command."""

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import normalised
from molflow.cli import app
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.exact.maximum_entropy import multipliers, restrain
from molflow.exact.observables import observable
from molflow.files import read_arrays

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def frames():
    reference = find_reference("alanine_dipeptide")
    return mdtraj.Trajectory(reference.positions[::20], reference.topology)


@pytest.mark.parametrize("error", [0.0, 0.4])
def test_of_a_gaussian_the_multiplier_is_known(error):
    """exp(-λ x) N(0, s²) is N(-λ s², s²); with an error ⟨x⟩ = F + σ² λ, so λ = -F/(s² + σ²)."""
    s, wanted = 0.7, 0.5
    x = s * np.random.default_rng(1).normal(size=(200_000, 1))
    found = multipliers(x, np.array([wanted]), np.array([error]), np.zeros(len(x)))
    exact = -wanted / (s**2 + error**2)
    assert found.values[0] == pytest.approx(exact, rel=0.02)
    own = found.means[0]
    assert own == pytest.approx(wanted + error**2 * found.values[0], abs=1e-6)
    weights = normalised(found.log_weights)
    spread = weights @ (x[:, 0] - own) ** 2
    assert spread == pytest.approx(s**2, rel=0.03)  # moved, not squeezed
    assert found.relative_entropy == pytest.approx((exact * s) ** 2 / 2, rel=0.04)


def test_no_other_weights_with_these_means_are_nearer():
    x = RNG.normal(size=(300, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]])
    start = RNG.normal(size=300) * 0.3
    wanted = np.array([0.4, -0.2])
    found = multipliers(x, wanted, np.zeros(2), start)
    assert found.means == pytest.approx(wanted, abs=1e-6)
    old, new = normalised(start), normalised(found.log_weights)
    constraints = np.column_stack([x, np.ones(300)])
    free = np.eye(300) - constraints @ np.linalg.pinv(constraints)
    for _ in range(20):
        step = free @ (RNG.normal(size=300) * new)
        other = new + 0.5 * step * np.min(new / np.maximum(np.abs(step), 1e-300))
        assert other @ x == pytest.approx(wanted, abs=1e-5) and (other > 0).all()
        assert np.sum(other * np.log(other / old)) > found.relative_entropy


def test_a_coupling_and_a_noe_of_a_molecule(frames, tmp_path):
    out = tmp_path / "weights.npz"
    noe = "noe:ACE1-C,NME3-N"
    found = restrain(frames, {"coupling:1": 6.8, noe: (0.36, 0.002)}, out)
    weights = normalised(read_arrays(out)["log_weights"])
    coupling, _ = observable("coupling:1", frames.topology)
    assert weights @ coupling(frames) == pytest.approx(6.8, abs=1e-4)
    distance, _ = observable("distance:ACE1-C,NME3-N", frames.topology)
    row = found["observables"][noe]
    assert (weights @ distance(frames) ** -6) ** (-1 / 6) == pytest.approx(row["after"])
    assert abs(row["after"] - 0.36) < abs(row["before"] - 0.36)
    assert found["effective"] < len(frames) - 1
    assert found["effective_before"] == pytest.approx(len(frames))
    again = restrain(frames, {"coupling:1": found["observables"]["coupling:1"]["before"]})
    assert again["effective"] == pytest.approx(len(frames), rel=1e-3)
    # Weights to begin with are kept.
    helix = np.log(np.where(phi_psi(frames)[:, 1] < 0.9, 1.0, 0.1))
    kept = restrain(frames, {"radius": (0.25, 10.0)}, weights=np.exp(helix))
    assert np.allclose(normalised(kept["log_weights"]), normalised(helix), rtol=1e-3)


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ({}, "means are empty"),
        ({"coupling:1": 40.0}, "the conformations have"),
        ({"radius": (0.25, -1.0)}, "error that is not negative"),
        ({"noe:ACE1-C,NME3-N": 0.0}, "of a NOE above zero"),
        ({"mass": 1.0}, "no observable 'mass'"),
        ({"radius": (0.6, 1e-4)}, "next to none of the conformations"),
    ],
)
def test_refusals(frames, means, words):
    with pytest.raises(MolflowError, match=words):
        restrain(frames, means)


def test_the_command(frames, tmp_path):
    frames.save_pdb(str(tmp_path / "frames.pdb"))
    out = tmp_path / "weights.npz"
    command = ["restrain", str(tmp_path / "frames.pdb"), "--out", str(out)]
    result = CliRunner().invoke(app, [*command, "--mean", "coupling:1=6.8±0.1"])
    assert result.exit_code == 0, result.output
    assert "wanted 6.8 ± 0.1" in result.output and "stays lacking" in result.output
    assert len(read_arrays(out)["log_weights"]) == len(frames)
    result = CliRunner().invoke(app, [*command, "--mean", "coupling:1"])
    assert result.exit_code == 2 and "OBSERVABLE=VALUE" in result.stderr


def test_the_radius_of_gyration_is_that_of_masses(frames):
    values, unit = observable("radius", frames.topology)
    masses = np.array([atom.element.mass for atom in frames.topology.atoms])
    # By pairs: R² = Σ_ab m_a m_b r_ab² / (2 M²), which knows no centre.
    pairs = np.array([(a, b) for a in range(22) for b in range(22)])
    squares = mdtraj.compute_distances(frames, pairs).astype(float) ** 2
    radius = np.sqrt(squares @ np.outer(masses, masses).ravel() / 2) / masses.sum()
    assert unit == "nm" and np.allclose(values(frames), radius, atol=1e-5)
