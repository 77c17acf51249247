"""The pieces of the benchmark of alanine peptides on cases whose answers are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import alanine_peptides

from molflow.analysis.reference import Reference
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.systems import load_system

SYSTEM = load_system(alanine_peptides.PEPTIDES["tripeptide"])
NAMES = ("phi ALA2", "psi ALA2", "omega ALA3", "phi ALA3", "psi ALA3")


def basins(rng, n, share):
    """beta with 1 - share, alpha-L with share of n samples of (phi, psi)."""
    left = np.arange(n) < round(n * share)
    rng.shuffle(left)
    return np.where(left[:, None], (1.0, 0.8), (-1.5, 2.3)) + 0.4 * rng.normal(size=(n, 2))


def torsions(rng, n, shares):
    first, second = (basins(rng, n, share) for share in shares)
    return np.concatenate([first, np.pi * np.ones((n, 1)), second], axis=1)


def test_residues_are_scored_one_by_one():
    """The first has alpha-L as often as the weighted reference, the second half as often."""
    rng = np.random.default_rng(0)
    n = 40_000
    angles = torsions(rng, n, (0.5, 0.5))
    # Weights that make 0.5 of alpha-L 0.2 in both residues, which are independent.
    sides = np.where(angles[:, [0, 3]] > 0, 0.4, 1.6)
    reference = Reference(
        SYSTEM.topology(), angles, None, np.repeat(np.arange(4), n // 4),
        np.zeros((0, 32, 3)), np.zeros(0, int), "alanine_tripeptide", {}, None, 300.0, 0.25, NAMES,
        log_weights=np.log(sides.prod(axis=1)),
    )  # fmt: skip
    assert alanine_peptides.columns(NAMES) == {"ALA2": [0, 1], "ALA3": [3, 4]}
    floors = alanine_peptides.floors_of(reference, 5000)
    rows = alanine_peptides.of_residues(torsions(rng, n, (0.2, 0.1)), reference, floors)
    assert rows["ALA2"]["delta_f_error"] == pytest.approx(0.0, abs=0.03)
    assert rows["ALA2"]["fes_rmse"] < 1.5 * floors["ALA2"] < 0.15
    assert rows["ALA3"]["delta_f_error"] == pytest.approx(np.log(9.0) - np.log(4.0), abs=0.05)
    # ln(2) and ln(8/9) off in 0.2 and 0.8 of the weight, after the best constant.
    expected = np.sqrt(0.2 * 0.8) * (np.log(2.0) + np.log(9.0 / 8.0))
    assert rows["ALA3"]["fes_rmse"] == pytest.approx(expected, abs=0.06)
    assert rows["ALA3"]["floor"] == floors["ALA3"]


@pytest.mark.parametrize(
    "part, residues", [("tripeptide", ["ALA2", "ALA3"]), ("tetrapeptide", ["ALA2", "ALA3", "ALA4"])]
)
def test_torsions_of_the_molecule_have_the_names_that_are_looked_for(part, residues):
    system = load_system(alanine_peptides.PEPTIDES[part])
    found = torsion_list(system.topology())
    pairs = alanine_peptides.columns(tuple(torsion.name for torsion in found))
    assert list(pairs) == residues
    angles = measure_torsions(system.start_positions()[None], found)
    assert angles.shape == (1, len(found)) and len(found) == 2 * len(residues)
