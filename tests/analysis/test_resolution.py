from dataclasses import replace

import numpy as np
import pytest
from synthetic import conformations, energies, measured, reference, trajectory
from test_scorecard import score

from molflow.analysis.resolution import blurs
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.analysis.verdict import verdict

SERIOUS = {"x": ("Mean", 0.15, "{:.2f} kT")}


def wandering(n, stay, seed):
    """Frames (n, 22, 3) that stay in beta or alpha-R for about `stay` of them; 6 of 10 in beta."""
    rng = np.random.default_rng(seed)
    moves = rng.random(n) < 1 / stay
    moves[0] = True
    well = (rng.random(moves.sum()) < 0.4).astype(int)[np.cumsum(moves) - 1]
    torsions = np.array([[-1.9, 2.5], [-1.3, -0.4]])[well] + rng.normal(scale=0.25, size=(n, 2))
    return conformations((torsions + np.pi) % (2 * np.pi) - np.pi, 0.003, seed + 1)


def short_reference(frames=360, stay=60, seed=3):
    """Three runs that went from basin to basin twice."""
    truth = reference(frames, thin=2)
    xyz = np.concatenate([wandering(frames // 3, stay, seed + run) for run in range(3)])
    return replace(
        truth, torsions=measure_torsions(xyz, torsion_list(truth.topology)),
        positions=xyz[::2].astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def short():
    return short_reference()


def test_a_reference_that_is_too_short_is_told_first_and_is_no_fault_of_the_ensemble(short):
    given = measured(short, wandering(600, 1, 50), energies=energies(600, 1))
    found = verdict(result := score(given, short))
    assert found["level"] == "unknown"
    row = result["metrics"]["torsion_misplaced_worst"]
    assert row["floor"] > 0.15 and row["excess"] < 0.05
    assert found["headline"].startswith("The reference is too short to judge by: two parts of it ")
    assert f"{row['floor']:.0%} apart" in found["headline"] and "times as many" in found["headline"]
    assert "What these data can tell agrees. Not judged: " in found["headline"]
    levels = {check["aspect"]: check for check in found["checks"]}
    assert levels["Free-energy map"]["level"] == levels["Torsions"]["level"] == "unknown"
    assert levels["Free-energy map"]["sentence"].startswith("The free-energy map cannot be judged")
    assert levels["Validity and chirality"]["level"] == "good"


def test_one_score_that_is_not_sharp_enough_is_told_with_those_that_are_not_judged():
    """Some hundred samples know every torsion, and the map of two together to 0.3 kT hardly."""
    truth = reference(900)
    result = score(measured(truth, trajectory(600).xyz, energies=energies(600, 1)), truth)
    assert verdict(result)["level"] == "good"
    result["metrics"]["fes_rmse"] |= {"floor": 0.31, "excess": 0.0}
    found = verdict(result)
    assert found["level"] == "good" and found["headline"].startswith("This ensemble agrees")
    assert found["headline"].endswith("Not judged: free-energy map.")
    result["metrics"]["torsion_misplaced_worst"] |= {"floor": 0.16, "excess": 0.0}
    assert verdict(result)["level"] == "unknown"


def test_what_is_wrong_all_the_same_comes_before_the_reference(short):
    xyz = wandering(600, 1, 50)
    xyz[::20, 0] += 0.2
    found = verdict(score(measured(short, xyz, energies=energies(600, 1)), short))
    assert found["level"] == "bad" and found["headline"].startswith("Do not trust")
    assert "The reference is too short to judge by" in found["headline"]


def test_an_ensemble_that_is_too_small_is_told():
    truth = reference()
    few = trajectory(60, seed=7).xyz
    found = verdict(score(measured(truth, few, energies=energies(60, 7)), truth))
    assert found["level"] == "unknown"
    assert found["headline"].startswith("The ensemble is too small to judge by: two parts of ")
    assert "The ensemble is worth about " in found["headline"]


@pytest.mark.parametrize("n", [2, 3, 9])
def test_a_handful_of_perfect_samples_is_no_bad_ensemble(n):
    truth = reference()
    given = measured(truth, trajectory(n, seed=n).xyz, energies=energies(n, 7))
    found = verdict(score(given, truth))
    assert found["level"] == "unknown", found
    assert found["headline"].startswith("The ensemble is too small to judge by")


def test_with_as_many_as_are_needed_the_floor_is_at_the_limit():
    """Of a score whose floor is known: the distance of two means of normal values."""
    rng = np.random.default_rng(0)

    def floor(m, r):
        draws = (rng.normal(size=(4000, n)).mean(axis=1) for n in (m, r))
        return float(np.mean(np.abs(np.subtract(*draws))))

    result = {
        "metrics": {"x": {"floor": floor(4, 12), "value": 0.1}},
        "statistics": {"floor_effective": {"model": 4, "reference": 12}},
    }
    found = blurs(result, SERIOUS)["Mean"]
    assert found.floor == f"{result['metrics']['x']['floor']:.2f} kT"
    assert floor(round(found.needed), round(found.needed)) == pytest.approx(0.15, rel=0.1)
    result["metrics"]["x"]["floor"] = 0.14
    assert not blurs(result, SERIOUS)
