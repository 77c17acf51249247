"""The committed figures of valence formulas hold what is said of them."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "valence.json"
MOLECULES = json.loads(RESULTS.read_text(encoding="utf-8"))["summary"]
CASES = [(name, energy) for name in MOLECULES for energy in ("force field", "gfn2-xtb")]


@pytest.mark.parametrize(("name", "energy"), CASES)
def test_convexity_costs_nothing_and_no_bond_breaks(name, energy):
    part = MOLECULES[name][energy]
    rest = part["rest"]
    for kelvin in ("300", "600"):
        convex, free = (rest[f"fourth order, {kind}"][kelvin] for kind in ("convex", "free"))
        assert convex < 1.03 * free and convex < 0.15 * part["force"][kelvin]
    assert part["least_curvature"] > 0.0
    stable = part["stable"]
    assert stable["broken_bonds"] == 0 and 0.7 < stable["shortest_bond"]
    assert stable["longest_bond"] < 1.4
    assert stable["kinetic_temperature"] == pytest.approx(stable["temperature"], rel=0.02)
    cost = part["milliseconds_a_force"]
    assert cost["gfn2-xtb"] > 300 * cost["formula, 256 at once"]


def test_a_fitted_formula_leaves_less_than_the_force_fields_own():
    rest = MOLECULES["alanine_dipeptide"]["force field"]["rest"]
    assert rest["fourth order, convex"]["300"] < rest["own bonded terms"]["300"] / 3.0
    rest = MOLECULES["alanine_dipeptide"]["gfn2-xtb"]["rest"]
    assert rest["fourth order, convex"]["300"] < 85.0 and rest["harmonic"]["300"] > 190.0
