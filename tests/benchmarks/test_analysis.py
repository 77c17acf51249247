"""Torsions are drawn as the benchmark says, and its figures stand."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_analysis", FOLDER / "analysis.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_drawn_torsions_follow_the_density(benchmark):
    density = np.zeros((72, 72))
    density[10, 50], density[60, 5] = 0.25, 0.75
    drawn = benchmark.draw(density, 40_000, np.random.default_rng(0))[:, 0]
    cell = np.floor((drawn + np.pi) / (2 * np.pi) * 72).astype(int)
    assert {tuple(row) for row in np.unique(cell, axis=0).tolist()} == {(10, 50), (60, 5)}
    assert np.mean(cell[:, 0] == 60) == pytest.approx(0.75, abs=0.01)


def test_committed_figures_hold_what_was_promised():
    found = json.loads((FOLDER / "results" / "analysis.json").read_text(encoding="utf-8"))
    summary = found["summary"]
    names = {"mirrored", "alpha_l_missing", "stiff_bonds", "broken", "repeated", "time_shuffled"}
    assert summary["defects"].keys() == names
    assert all(row["detected"] and row["verdict"] for row in summary["defects"].values())
    assert set(summary["controls"].values()) == {"good"}
    # All processes together, so that other work on the machine does not count.
    assert summary["seconds_100k"] < 60
    assert summary["perfect_samples"]["sizes"][-1] == 1_000_000
    assert summary["perfect_samples"]["largest_excess_in_standard_errors"] < 4.5
    # What stays of a conformation is less than its positions, even of so small a molecule.
    small, large = found["parts"]["cost"]["memory"]
    assert large["n"] >= 10 * small["n"]
    assert large["peak_mib"] - small["peak_mib"] < large["file_mib"] - small["file_mib"]
