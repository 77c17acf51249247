import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, conformations, torsion_samples

from molflow.analysis.molecule.geometry import measure, sd_ratio, term_table, terms, w1_per_term


def test_terms_of_alanine_dipeptide():
    found = terms(TOPOLOGY)
    kinds = [term.kind for term in found]
    assert [kinds.count(k) for k in ("bond", "angle", "improper")] == [21, 36, 4]
    assert [t.atoms[-1] for t in found if t.kind == "improper"] == [4, 6, 14, 16]
    assert found[0].name == "1:H1 – 1:CH3"


def test_values_are_mdtrajs():
    xyz = conformations(torsion_samples(20, 0.3, 0), sd=0.01)
    trajectory = mdtraj.Trajectory(xyz.astype(np.float32), TOPOLOGY)
    found = terms(TOPOLOGY)
    values = measure(trajectory.xyz, found)
    functions = {
        "bond": mdtraj.compute_distances,
        "angle": mdtraj.compute_angles,
        "improper": mdtraj.compute_dihedrals,
    }
    for column, term in enumerate(found):
        expected = functions[term.kind](trajectory, [term.atoms])[:, 0]
        assert np.abs(values[:, column] - expected).max() < 2e-5


def test_w1_and_ratio_of_a_scaled_and_shifted_marginal():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5000, 2))
    model = truth * [0.5, 1.0] + [0.0, 3.0]
    assert w1_per_term(model, truth)[1] == pytest.approx(3.0)
    # W1 between N(0, 1) and N(0, 1/4) is E|x| / 2.
    assert w1_per_term(model, truth)[0] == pytest.approx(np.abs(truth[:, 0]).mean() / 2)
    assert sd_ratio(model, truth) == pytest.approx([0.5, 1.0])


def test_frozen_reference_has_no_ratio():
    truth = np.full((10, 1), 0.1)
    assert np.isnan(sd_ratio(truth + 0.01, truth)).all()
    row = term_table(terms(TOPOLOGY)[:1], truth + 0.01, truth)[0]
    assert row["sd_ratio"] is None and row["w1"] == pytest.approx(0.01)
