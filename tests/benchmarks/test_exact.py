"""Toys with known answers, and what the committed figures promise."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest

from molflow.training.checkpoint import load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
exact, checks, weighing = map(
    importlib.import_module, ("exact", "exact_energies", "exact_weights")
)

KT = 2.5


def held(formula: str, chain: float) -> openmm.System:
    """Four particles in a well of their own each, and springs from one to the next."""
    built = openmm.System()
    well, springs = openmm.CustomExternalForce(formula), openmm.HarmonicBondForce()
    for k in range(4):
        built.addParticle(1.0)
        well.addParticle(k, [])
        if k:
            springs.addBond(k - 1, k, 0.0, chain)
    built.addForce(well)
    built.addForce(springs)
    return built


def test_density_and_effective_size_of_a_gaussian_in_63_dimensions():
    found = exact.gaussian_toy(n=2000)
    assert found["largest_error_of_log_density"] < 1e-10
    assert found["ess"] == pytest.approx(found["ess_in_theory"], rel=0.1)


def test_the_sharper_value_counts_more():
    found = weighing.together(np.array([1.0, 2.0]), np.array([0.1, 0.2]))
    assert found["together"] == pytest.approx({"value": 1.2, "error": 125.0**-0.5})
    assert found["furthest"] == pytest.approx(20.0**0.5)


def test_moves_have_no_error_of_their_step():
    """A quartic energy is a quarter of kT a coordinate, even in steps that are too long."""
    built, rng = held("100*(x^4+y^4+z^4)", 0.0), np.random.default_rng(0)
    starts = np.full((30, 4, 3), 0.2)
    energies, _, acceptance = checks.hamiltonian(built, KT, starts, 120, rng, step=150.0)
    means = energies[:, 20:].mean(1)
    assert 0.5 < acceptance < 0.95
    assert abs(means.mean() - 3.0) < 3.5 * means.std() / 30**0.5 and means.std() < 0.6


@pytest.mark.parametrize("warmth", [1.0, 1.2])
def test_every_term_has_the_temperature_of_the_conformations(warmth):
    rng, well, chain = np.random.default_rng(1), 300.0, 200.0
    ladder = np.diff(np.eye(4), axis=0)
    stiffness = well * np.eye(4) + chain * ladder.T @ ladder
    root = np.linalg.cholesky(warmth * KT * np.linalg.inv(stiffness))
    positions = np.einsum("ij,njk->nik", root, rng.normal(size=(400, 4, 3)))
    fields = checks.Fields(held(f"{well / 2}*(x^2+y^2+z^2)", chain), KT)
    values = [np.array(one) for one in zip(*map(fields, positions), strict=True)]
    row = checks.judged(values, np.full(400, 1 / 400), fields.terms, 300.0)
    assert set(row["temperatures"]) == {"CustomExternalForce", "bonds"}
    for value, error in row["temperatures"].values():
        assert abs(value - 300.0 * warmth) < 3.5 * error and error < 11.0
    mean, error = row["mean_energy_kt"]
    assert abs(mean - 6.0 * warmth) < 3.5 * error
    # Together the identities of a quadratic energy say what it is, without noise.
    assert row["with_identities"] == pytest.approx([6.0, 0.0], abs=1e-6)


def test_committed_figures_hold_what_was_promised():
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "exact.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    found, of = results["summary"], results["weights_sha256"]
    shipped = load_checkpoint("alanine_dipeptide").weights_hash
    assert {of[name] for name in ("weights", "strata", "reweight", "refine")} == {shipped}
    row = found["weights"]
    assert row["n"] >= 4000 and row["nfe"] <= 8 and row["ess"] >= 0.4
    assert row["energy_w2"]["value"] <= 2.0 * row["energy_w2"]["floor"]
    rare = found["strata"]["ess_by_basin"]["alpha_l"]
    assert rare["samples"] >= 400 and rare["share"] >= 0.2
    assert abs(found["reweight"]["difference"]) <= 0.1
    planted = found["reweight"]["planted"]
    assert not planted["none"]["corrected_by_reweight"]
    assert planted["removed"]["said_of_weights"] and planted["removed"]["said_by_reweight"]
    assert any("αL" in one for one in planted["doubled"]["corrected_by_weights"])
    assert found["refine"]["energy_w2"] <= 0.15 and found["refine"]["times_openmm"] <= 1.25
