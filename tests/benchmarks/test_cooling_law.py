"""The committed figures of the cooling law are those of the formula."""

import json
from pathlib import Path

import pytest

from molflow.sde.harmonic import HarmonicMode

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "cooling_law.json"


@pytest.fixture(scope="module")
def summary():
    return json.loads(RESULTS.read_text(encoding="utf-8"))["summary"]


def test_predictions_are_those_of_the_package(summary):
    compared = 0
    for ratio, by_order in summary["temperature"].items():
        for order, row in by_order.items():
            mode = HarmonicMode(1.0, summary["friction_times_period"])
            found = mode.temperatures(float(ratio), int(order))
            for axis, value in zip(("t_x", "t_v"), found, strict=True):
                assert row[axis]["predicted"] == pytest.approx(value, rel=1e-9)
                compared += 1
    assert compared >= 100


def test_measured_temperatures_match(summary):
    rows = [row for part in summary["temperature"].values() for row in part.values()]
    for part in summary["friction"].values():
        rows += [row for by_friction in part.values() for row in by_friction.values()]
    off = [
        (row[axis]["measured"] - row[axis]["predicted"]) / row[axis]["error"]
        for row in rows
        for axis in ("t_x", "t_v")
    ]
    assert max(map(abs, off)) < 4.5
    assert (sum(value**2 for value in off) / len(off)) ** 0.5 == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize(
    ("ratio", "order", "known"), [("1", "3", 0.61), ("1", "4", 0.99), ("2", "4", 0.29),
                                  ("2", "6", 0.91), ("2", "8", 0.997), ("4", "12", 0.89)],
)  # fmt: skip
def test_known_temperatures_are_measured(summary, ratio, order, known):
    row = summary["temperature"][ratio][order]["t_x"]
    assert row["error"] < 0.005
    assert row["measured"] == pytest.approx(known, abs=4 * row["error"] + 0.005)
