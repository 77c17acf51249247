"""The pieces of the yardstick's benchmark on cases whose answers are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import yardstick

from molflow.analysis.torsion_metrics import fes_rmse


def two_basins(rng, n, share, width=0.4):
    """beta with 1 - share, alpha-L with share of n samples of (phi, psi)."""
    left = np.arange(n) < round(n * share)
    middle = np.where(left[:, None], (1.0, 0.8), (-1.5, 2.3))
    return middle + width * rng.normal(size=(n, 2))


def test_regions_say_where_the_error_is():
    rng = np.random.default_rng(0)
    truth = two_basins(rng, 100_000, 0.2)
    model = two_basins(rng, 100_000, 0.1)
    rows = yardstick.regions(model, truth, None)
    assert sum(rows[name]["weight"] for name in ("beta", "alpha_r", "alpha_l")) == pytest.approx(1)
    bands = [row["share_of_square"] for name, row in rows.items() if name.endswith("kT")]
    assert sum(bands) == pytest.approx(1.0)
    # ln(0.2 / 0.1) too rare and ln(0.8 / 0.9) too frequent, whatever the constant.
    gap = rows["alpha_l"]["mean_error"] - rows["beta"]["mean_error"]
    assert gap == pytest.approx(np.log(2) + np.log(0.9 / 0.8), abs=0.05)
    assert rows["alpha_l"]["share_of_square"] > 0.7
    # A weighted reference is the same as the frames that it stands for.
    flat = two_basins(rng, 100_000, 0.5)
    weights = np.where(np.arange(100_000) < 50_000, 0.2, 0.8) / 50_000
    again = yardstick.regions(model, flat, weights)
    assert again["alpha_l"]["mean_error"] == pytest.approx(rows["alpha_l"]["mean_error"], abs=0.05)


def test_halves():
    rng = np.random.default_rng(1)
    runs = [two_basins(rng, 20_000, 0.2) for _ in range(4)]
    equal = [np.zeros(20_000)] * 4
    same = yardstick.half_rmse([runs[0]] * 4, equal)
    assert same["mean"] == pytest.approx(0.0, abs=1e-9) and same["halvings"] == 3
    found = yardstick.half_rmse(runs, equal)
    a, b = np.concatenate(runs[:2]), np.concatenate(runs[2:])
    assert found["first_halves"] == pytest.approx((fes_rmse(a, b) + fes_rmse(b, a)) / 2)
    assert 0.005 < found["mean"] < 0.1
    # Weights that are wrong in one run show.
    wrong = [np.where(runs[0][:, 0] > 0, 1.0, 0.0), *equal[1:]]
    assert yardstick.half_rmse(runs, wrong)["mean"] > 2 * found["mean"]


def test_floor_falls_with_the_root_of_the_draws():
    rng = np.random.default_rng(2)
    flat = two_basins(rng, 50_000, 0.5)
    weights = np.where(np.arange(50_000) < 25_000, 0.2, 0.8) / 25_000
    few, many = (yardstick.floor(flat, weights, n) for n in (1000, 4000))
    assert few / many == pytest.approx(2.0, rel=0.25)


def test_free_energy_of_runs():
    rng = np.random.default_rng(3)
    runs = [two_basins(rng, 5000, 0.2, 0.2) for _ in range(4)]
    runs = [run[rng.permutation(5000)] for run in runs]
    found = yardstick.of_runs(runs, [np.zeros(5000)] * 4)
    assert found["value"] == pytest.approx(np.log(4), abs=1e-6)
