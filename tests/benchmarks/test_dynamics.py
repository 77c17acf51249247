"""The benchmark of dynamics: errors along paths, criteria, and costs, where the answer is known."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "propagation"))

import dynamics_cost  # noqa: E402
from dynamics import arguments, criteria, length, summarised, temperature_error  # noqa: E402
from dynamics_cost import cost_of_map, seconds_of, when_it_pays  # noqa: E402
from dynamics_strong import by_map, driven, on_learned_force, order, squares, table  # noqa: E402
from harmonic_map import MASS, REST, SYSTEM, HarmonicMap, thermal_state  # noqa: E402

from molflow.errors import MolflowError  # noqa: E402
from molflow.propagation.paths import ChainPaths  # noqa: E402
from molflow.units import thermal_energy  # noqa: E402

ENERGY = thermal_energy(300.0)


def test_errors_are_in_angstrom_and_thermal_velocities():
    truth = np.random.default_rng(0).normal(size=(3, 5, 2, 22, 3))
    moved = truth.copy()
    moved[:, 1, 0, :, 0] += 0.03
    moved[:, 2, 1, :, 2] += 2.0 * (ENERGY / MASS) ** 0.5
    found = np.sqrt(squares(moved, truth, np.full(22, MASS), ENERGY))
    np.testing.assert_allclose(found, [[0, 0.3, 0, 0, 0], [0, 0, 2, 0, 0]], atol=1e-9)


def test_order_of_errors_of_known_order():
    rng = np.random.default_rng(1)
    steps = [1.0, 2.0, 4.0]
    errors = np.array([h**3 * rng.chisquare(20, size=16) for h in steps])  # RMSE ~ h^1.5
    found = order(steps, errors)
    low, high = found["interval"]
    assert low < 1.5 < high and high - low < 0.6
    assert found["value"] == pytest.approx(1.5, abs=0.2)
    assert order([1.0], errors[:1]) is None


def test_a_map_follows_its_own_force_along_the_path():
    flow_map = HarmonicMap(order=12)
    x, paths = thermal_state(flow_map, 3), ChainPaths(flow_map.basis, 3, 22, 0)
    fine = on_learned_force(flow_map, 0.3125, x, paths, 2)
    masses = np.full(22, MASS)
    walks = {
        h: lambda h=h: on_learned_force(flow_map, h, x, paths, 2) for h in (0.625, 1.25)
    }  # fmt: skip
    coarse = table(walks, fine, masses, ENERGY)
    errors = [row["velocity_thermal"] for row in coarse["errors"].values()]
    assert errors[1] / errors[0] == pytest.approx(5, rel=0.1)  # (4² - 1)/(2² - 1), order 2
    maps = {h: lambda h=h: by_map(flow_map, h, x, paths, 2) for h in (5.0, 20.0)}
    found = table(maps, fine, masses, ENERGY)["errors"]
    for row in found.values():  # what is left is the error of the fine walk
        assert row["velocity_thermal"] < errors[0]
    step = by_map(flow_map, 8.0, x, paths, 1, 0.008)  # the same solution on another grid
    own = on_learned_force(flow_map, 0.125, x, paths, 1, 0.008)
    assert np.sqrt(squares(step, own, masses, ENERGY)[1]).max() < 0.01
    few = HarmonicMap(order=2)
    x, paths = thermal_state(few, 3), ChainPaths(few.basis, 3, 22, 0)
    fine = on_learned_force(few, 0.3125, x, paths, 2)
    lost = table({20.0: lambda: by_map(few, 20.0, x, paths, 2)}, fine, masses, ENERGY)
    assert lost["errors"]["20"]["velocity_thermal"] > 2 * errors[1]


def test_openmm_follows_the_path_that_drives_the_map():
    flow_map = HarmonicMap(order=2)
    x, paths = thermal_state(flow_map, 1), ChainPaths(flow_map.basis, 1, 22, 0)
    x[:, 0] = REST
    states = {
        (scheme, step): driven(SYSTEM, scheme, step, flow_map.sde, 300.0, x, paths, 1)
        for scheme, step in (("bub", 0.15625), ("bub", 0.3125), ("baoab", 0.3125))
    }
    truth, masses = states["bub", 0.15625], np.full(22, MASS)
    assert truth.shape == (1, 1, 2, 22, 3)
    errors = [np.sqrt(squares(states[key], truth, masses, ENERGY)[1, 0])
              for key in (("bub", 0.3125), ("baoab", 0.3125))]  # fmt: skip
    assert errors[0] < 0.03 and 3 * errors[0] < errors[1] < 0.3


def test_walks_that_blow_up_have_no_error():
    truth = np.zeros((1, 2, 2, 22, 3))

    def broken():
        raise MolflowError("the walk of 2 steps blew up")

    walks = {1.0: lambda: truth + 1e-3, 2.0: broken, 5.0: lambda: truth + np.nan,
             10.0: lambda: truth + 1e3}  # fmt: skip
    found = table(walks, truth, np.full(22, MASS), ENERGY)
    assert [row["velocity_thermal"] is None for row in found["errors"].values()] == [
        False, True, True, True
    ]  # fmt: skip
    assert found["order"] == {"position": None, "velocity": None}
    assert found["errors_at_the_first_point"]["1"]["position_angstrom"] == pytest.approx(
        0.01 * 3**0.5
    )


POSITION = {"value": 2.0, "interval": [1.9, 2.1]}


def lag_row(**changes):
    row = {
        "temperature_error": 0.01, "broken": 0, "fes_rmse": {"excess": 0.1},
        "times": {"timescale": {"value": 1.1, "agrees": True}, "passages": {
            "alpha_r to alpha_l": {"value": None, "agrees": None}}},
    }  # fmt: skip
    return row | changes


def test_the_largest_lag_is_the_largest_that_fulfils_everything_known():
    assert set(criteria(lag_row()).values()) == {True, None}
    for change in ({"temperature_error": 0.021}, {"broken": 1}, {"fes_rmse": {"excess": 0.16}}):
        assert False in criteria(lag_row(**change)).values()
    errors = {"map": {"errors": {}}, "baoab": {"errors": {}}, "euler_maruyama": {"errors": {}}}
    parts = {
        "lags": {"10": lag_row(), "20": lag_row(), "40": {"broken": 256, "said": "all broke"}},
        "strong": errors | {"map_against_its_own_force": {"order": {"position": POSITION}}},
        "cost": {"map": {"64": {"ns_a_day": 30.0}},
                 "openmm": {"Reference free": {"ns_a_day": 500.0, "device": "cpu"},
                            "CUDA free": {"ns_a_day": 900.0, "device": "cuda"}},
                 "pays": {"seconds_a_force_at_which_it_is_even": 1e-3}},
        "states": {"350K": {"broken": 256}},
        "residual_noise": lag_row(temperature_error=0.03),
    }  # fmt: skip
    summary = summarised(parts, [40.0, 10.0, 20.0])
    assert summary["largest_h_fs"] == 20.0
    assert summary["strong_order"] == 2.0
    assert summary["h"]["20"]["undecided"] == ["passage", "alpha_r to alpha_l"]
    assert not summary["h"]["20"]["fails"]
    assert summary["h"]["40"] == {
        "temperature_error": None, "fes_rmse_excess": None, "timescale_ratio": None,
        "passage_ratio": None, "passage_ratios": {}, "broken": 256, "undecided": [],
        "fails": ["broken"],
    }  # fmt: skip
    assert summary["with_residual_noise"]["fails"] == ["temperature"]
    assert summary["speed_vs_openmm_cpu"] == pytest.approx(0.06)


def test_chains_are_as_long_as_asked():
    words = ["checkpoint", "--work", "work", "--time", "50ps"]
    plain = arguments().parse_args(words)
    other = arguments().parse_args([*words, "--headline-time", "120ps", "--states-time", "20ps"])
    for lag, state, found in (
        (10.0, {}, "50ps"), (20.0, {}, "120ps"), (20.0, {"residual_noise": True}, "20ps"),
        (20.0, {"temperature": "350K"}, "20ps"),
    ):  # fmt: skip
        assert length(lag, other, state) == found
        assert length(lag, plain, state) == "50ps"


def test_the_worst_temperature_counts():
    rows = {"elements": {"C": {"value": 303.0}}, "modes": {"bond": {"value": 285.0}}}
    assert temperature_error({"temperatures": rows}, 300.0) == pytest.approx(0.05)


def test_a_map_pays_where_forces_are_dear():
    # A step of 20 fs in 10 ms replaces 20 forces of 1 fs: even at half a millisecond a force.
    found = when_it_pays(0.01, lag=20.0, timestep=1.0)
    assert found["seconds_a_force_at_which_it_is_even"] == pytest.approx(5e-4)
    row = found["times_faster_by_seconds_a_force"]["0.01"]
    assert row["times_faster"] == pytest.approx(20.0)


def test_costs_are_per_step_of_all_chains(monkeypatch):
    assert seconds_of(lambda: sum(range(10**6)), "cpu", 0.05) > 1e-3
    monkeypatch.setattr(dynamics_cost, "CHAINS", (2,))
    row = cost_of_map(HarmonicMap(), REST.numpy()[None], 20.0, least=0.05)["2"]
    assert row["ns_a_day"] == pytest.approx(2 * row["ns_a_day_of_one_chain"])
    assert row["ns_a_day"] == pytest.approx(2 * 20e-6 * 86400 / row["seconds_a_step"])
