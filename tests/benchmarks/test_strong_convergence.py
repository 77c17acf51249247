"""The test equation's paths, walks and floors are right, and the committed figures hold."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.solvers.solved_paths import solve

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from strong_convergence import EQUATION, PROBLEM, errors, floor  # noqa: E402
from toy_training import walk  # noqa: E402


@pytest.fixture(scope="module")
def paths():
    problem = dataclasses.replace(PROBLEM, fine=1024)
    return solve(problem, 256, Basis(4), torch.Generator().manual_seed(0))


def test_coarse_increments_are_those_of_the_fine_path(paths):
    # The increment of a step is the sum of those of its halves; coefficients are whitened.
    for level in range(len(paths.levels) - 1):
        fine, coarse = (paths.levels[k][..., 0] for k in (level, level + 1))
        halves = (fine[::2] + fine[1::2]) / 2.0**0.5
        torch.testing.assert_close(coarse, halves, atol=2e-5, rtol=0)


def test_the_solver_walks_from_point_to_point(paths):
    # One step of the scheme in every cell of the finest grid is near the fine solution, and the
    # error averages over the points with t = 0, where there is none.
    def jump(s, t, x, increment):
        return PROBLEM.scheme(EQUATION, EQUATION.nonlinear, s, t, x, increment)

    states = walk(jump, paths.states[0], paths.times, paths.path(0, Basis(4)))
    squares = [(x - paths.states[k + 1]).square().mean().item() for k, x in enumerate(states)]
    found = errors(jump, paths, Basis(4))
    assert found["64"] == pytest.approx(sum(squares) / 65, rel=1e-6)
    assert found["64"] < 1e-3


def test_the_floor_falls_with_the_coefficients_and_is_no_more_than_the_law_of_total_variance(paths):
    found = {order: floor(paths, order, 3)["value"] for order in (1, 4)}
    # Half the whole variance of X_1 is what knowing nothing leaves open.
    assert 5.0 * found[4] < found[1] < 0.5 * float(paths.states[-1].var())


@pytest.fixture(scope="module")
def results():
    path = BENCHMARKS / "results" / "strong_convergence.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_committed_floors_agree_with_an_independent_estimate(results):
    for order, value in {"1": 0.589, "2": 0.145, "3": 0.0464, "4": 0.0221}.items():
        error = results["floor_error"][order]
        assert results["summary"]["floor"][order] == pytest.approx(value, abs=4 * error + 1e-3)


def test_committed_errors_meet_the_goals(results):
    mse, least = results["summary"]["mse"], results["summary"]["floor"]
    for order in ("1", "2", "3", "4"):
        assert mse["best"][order]["1"] < 1.1 * least[order]
    assert mse["best"]["4"]["8"] <= 0.0010
    assert mse["best"]["4"]["32"] <= 0.0002
    for steps in ("1", "8", "32"):
        assert mse["best"]["4"][steps] < mse["published"]["4"][steps]
    # a map with more coefficients is no worse
    assert mse["best"]["1"]["1"] > mse["best"]["2"]["1"] > mse["best"]["4"]["1"]
