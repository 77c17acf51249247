"""The committed ways of ten molecules to a report hold what is said of them."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "molecules.json"
SUMMARY = json.loads(RESULTS.read_text(encoding="utf-8"))["summary"]


@pytest.mark.parametrize("name", SUMMARY["tried"])
def test_a_molecule_comes_to_an_honest_report_in_three_commands(name):
    row = SUMMARY["tried"][name]
    assert len(row["commands"]) <= 3 and row["seconds"] <= 1200
    assert all(command.startswith("molflow ") for command in row["commands"])
    # Of so little time nothing that could be used has come, and the headline says why.
    assert row["verdict"] == "bad" and row["headline"].startswith("Not usable because ")
    told = " ".join(row["account"])
    assert "training steps" in told and "Training:" in told and "held out" in told
    assert row["advice"]


def test_ten_kinds_of_input_were_tried():
    assert len(SUMMARY["tried"]) == 10


def test_budgets_were_held():
    """Half a minute is for starting, which is before the clock."""
    for name, row in SUMMARY["tried"].items():
        assert row["seconds_of_stages"]["whole"] <= 1.1 * row["budget_seconds"], name
        assert row["seconds_of_commands"][-1] <= 1.1 * row["budget_seconds"] + 30, name


def test_costs_grow_with_atoms_and_the_largest_network_that_fits_is_chosen():
    cost = SUMMARY["cost"]
    assert list(cost) == ["22", "32", "138"]
    for found in cost.values():
        rows = found["networks"]
        assert found["chosen"] in rows and "3,000 training steps" in found["why"]
        each = [row["step_milliseconds_a_molecule"] for row in rows.values()]
        assert max(each) == each[-1]
    for network in cost["22"]["networks"]:
        times = [
            cost[atoms]["networks"][network]["step_milliseconds_a_molecule"] for atoms in cost
        ]
        assert times == sorted(times)
