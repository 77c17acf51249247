import numpy as np
import pytest
from kinetic_processes import ornstein_uhlenbeck

from molflow.analysis.kinetics.autocorrelation import compare_memory, torsion_autocorrelation
from molflow.analysis.kinetics.time_series import TorsionSeries
from molflow.errors import MolflowError


def test_an_ornstein_uhlenbeck_angle_has_its_closed_form():
    """<cos(a_0 - a_t)> = exp(-s^2 (1 - c)) and |<v>|^2 = exp(-s^2), c = exp(-t/tau)."""
    tau, sd = 10.0, 0.8
    runs = ornstein_uhlenbeck(0.5 / tau, 4000, 40, sd=sd)
    series = TorsionSeries(tuple(run[:, None] for run in runs), interval=0.5)
    found = torsion_autocorrelation(series, 0, longest=30.0)
    correlation = np.exp(-found["times"] / tau)
    exact = np.expm1(sd**2 * correlation) / np.expm1(sd**2)
    assert found["value"][0] == pytest.approx(1.0)
    assert np.max(np.abs(found["value"] - exact)) < 0.02
    inside = (found["low"] <= exact) & (exact <= found["high"])
    assert inside[1:].mean() > 0.7
    assert 0.005 < np.mean(found["high"] - found["low"]) < 0.06


def test_it_is_the_direct_sum_over_pairs_of_frames():
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(size, 2)).cumsum(axis=0) for size in (30, 17, 8)]
    found = torsion_autocorrelation(TorsionSeries(tuple(runs), 2.0), 1, longest=20.0)
    vectors = [np.stack([np.cos(run[:, 1]), np.sin(run[:, 1])], axis=1) for run in runs]
    mean = np.concatenate(vectors).mean(axis=0)
    for lag, value in enumerate(found["value"]):
        pairs = [np.sum(v[: len(v) - lag] * v[lag:], axis=1) for v in vectors if len(v) > lag]
        expected = (np.concatenate(pairs).mean() - mean @ mean) / (1 - mean @ mean)
        assert value == pytest.approx(expected, abs=1e-12)
    assert list(found["times"]) == [2.0 * k for k in range(11)]


def angles_that_forget(tau, interval, seed, frames=4000, sd=0.5):
    runs = ornstein_uhlenbeck(interval / tau, frames, 40, seed, sd)
    return TorsionSeries(tuple(run[:, None] for run in runs), interval)


def test_memories_are_compared_at_equal_times():
    reference = angles_that_forget(10.0, 1.0, 1)
    same = compare_memory(angles_that_forget(10.0, 0.5, 2, 8000), reference, 0, 40.0)
    assert same["times"].tolist() == list(range(41)) and same["agree"]
    assert same["ratio_interval"][0] < 1 < same["ratio_interval"][1] < 1.1
    # (e^(s² c) - 1)/(e^(s²) - 1) with c = e^(-t/10), integrated from 0 to 40.
    t = np.linspace(0, 40, 4001)
    exact = np.trapezoid(np.expm1(0.25 * np.exp(-t / 10)) / np.expm1(0.25), t)
    assert same["time_reference_ps"] == pytest.approx(exact, rel=0.05)
    np.testing.assert_array_equal(
        same["reference"], torsion_autocorrelation(reference, 0, 40.0)["value"]
    )
    slow = compare_memory(angles_that_forget(15.0, 1.0, 3), reference, 0, 40.0)
    assert not slow["agree"] and slow["ratio_interval"][0] > 1.2
    assert slow["low"][10] > 0


def test_frames_that_never_meet_are_refused():
    pair = angles_that_forget(10.0, 1.0, 1, 100), angles_that_forget(10.0, 0.4, 1, 100)
    with pytest.raises(MolflowError, match="0.4 ps: one has to be a multiple"):
        compare_memory(*pair, 0, 10.0)
