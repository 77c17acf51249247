import json
from dataclasses import replace
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
from molecules import chain, zigzag
from scipy.signal import lfilter

from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.files.reference_file import reference_from_trajectory
from molflow.analysis.kinetics.frame_times import frame_times
from molflow.analysis.kinetics.order_in_time import _by_chance, order_in_time
from molflow.analysis.kinetics.relaxation import autocorrelation, reference_lags
from molflow.analysis.metrics.registry import metric
from molflow.comparison import compare
from molflow.errors import MolflowError


def wandering(n, rho, seed, sd=0.3):
    """Torsions (n, 3) about 180° that follow an autoregressive process; sd in rad."""
    noise = np.random.default_rng(seed).normal(size=(n + 500, 3)) * np.sqrt(1 - rho**2)
    return np.pi + sd * lfilter([1.0], [1.0, -rho], noise, axis=0)[500:]


def test_autocorrelation_of_an_autoregressive_process():
    lags = np.array([1, 2, 4, 8])
    found = autocorrelation(wandering(200_000, 0.8, 1, sd=0.05), np.zeros(200_000), lags)
    # Small angles: sin moves as the angle does, cos hardly.
    assert found == pytest.approx(0.8**lags, abs=0.02)
    shuffled = np.random.default_rng(0).permutation(wandering(50_000, 0.8, 1))
    shuffled = autocorrelation(shuffled, np.zeros(50_000), lags)
    assert np.abs(shuffled).max() < 0.02


def test_autocorrelation_is_its_formula_within_runs():
    torsions, runs = wandering(301, 0.7, 2), np.repeat([0, 1], [120, 181])
    found = autocorrelation(torsions, runs, np.array([3, 7]))
    x = np.concatenate([np.cos(torsions), np.sin(torsions)], axis=1)
    x -= x.mean(axis=0)
    for k, value in zip((3, 7), found, strict=True):
        pairs = [x[i] @ x[i + k] for i in range(301 - k) if runs[i] == runs[i + k]]
        assert value == pytest.approx(np.mean(pairs) / np.mean(np.sum(x**2, axis=1)), rel=1e-10)
    assert autocorrelation(np.ones((9, 2)), np.zeros(9), np.array([1, 20])).tolist() == [1, 1]


def test_lags_are_the_same_times():
    own, theirs = reference_lags(2.0, 0.5, 300)
    assert own.tolist() == [1, 2, 4, 8, 16] and theirs.tolist() == [4, 8, 16, 32, 64]
    assert reference_lags(2.0, 0.5, 100)[1].tolist() == [4, 8, 16]
    assert reference_lags(0.5, 2.0, 300) is None and reference_lags(1.5, 1.0, 300) is None
    assert reference_lags(1.0, None, 300) is None


class Frames(SimpleNamespace):
    """What the score takes of a reference."""

    def __init__(self, torsions, runs):
        super().__init__(torsions=torsions, replica=runs, runs=(0, 1), frame_interval_ps=1.0)


def test_perfect_trajectories_are_on_the_floor_and_beyond_chance_as_rarely_as_is_said():
    """300 frames, worth some fifteen, of which a plain autocorrelation is .05 too low."""
    found, low, runs = [], [], np.zeros(300, int)
    for trial in range(200):
        torsions = wandering(2300, 0.9, 1000 + trial)
        truth = Frames(torsions[:2000], np.repeat([0, 1], 1000))
        curves, row = order_in_time(torsions[2000:], range(3), runs, truth, truth, 1.0)
        found.append((row["value"] > curves["by_chance"], row["value"] ** 2, row["floor"] ** 2))
        low.append(np.subtract(curves["model"], curves["reference"]))
    beyond, value, floor = np.array(found, float).T
    assert beyond.sum() <= 4
    assert value.mean() == pytest.approx(floor.mean(), rel=0.25)
    assert np.abs(np.mean(low, axis=0)).max() < 0.02
    curves, row = order_in_time(wandering(300, 0.5, 1), range(3), runs, truth, truth, 1.0)
    assert row["value"] - row["floor"] > 0.15 and row["value"] > curves["by_chance"]


def test_chance_of_a_distance_with_an_estimated_covariance():
    """As rare as a normal value above 2.6 standard deviations, 0.47 %; rarer with few pieces."""
    rng = np.random.default_rng(0)
    shape = np.array([[1.0, 0.8, 0.5], [0.8, 1.0, 0.8], [0.5, 0.8, 1.0]])
    for freedom, least in ((10, 0.0005), (40, 0.002)):
        drawn = rng.multivariate_normal(np.zeros(3), shape, size=(4000, freedom + 1))
        value = np.sqrt(np.mean(drawn[:, 0] ** 2, axis=1))
        estimates = np.einsum("nij,nik->njk", drawn[:, 1:], drawn[:, 1:]) / freedom
        limits = [_by_chance(estimate, freedom) for estimate in estimates]
        assert least < np.mean(value > limits) < 0.007
    assert _by_chance(np.eye(2), 0) is None and _by_chance(np.zeros((2, 2)), 4) == 0


def test_relaxation_error_of_two_curves():
    assert metric("relaxation_error")([0.5, 0.1], [0.2, 0.5]) == pytest.approx(np.sqrt(0.125))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relaxation")
    for name, rho, seed in (("md", 0.8, 1), ("same", 0.8, 2), ("fast", 0.5, 3)):
        xyz = zigzag(wandering(4000, rho, seed), seed=seed)
        made = mdtraj.Trajectory(xyz, chain("CCCCCC"), time=np.arange(4000.0))
        made.save(str(folder / f"{name}.h5"))
    made = mdtraj.load(str(folder / "same.h5"))
    made.xyz = np.random.default_rng(0).permutation(made.xyz)
    made.save(str(folder / "shuffled.h5"))
    return folder


def judged(folder, name, interval):
    result = compare(
        folder / f"{name}.h5", folder / "md.h5", frame_interval=interval, exact_transport=False
    )
    json.dumps(result, allow_nan=False)
    return result, {check["aspect"]: check for check in result["verdict"]["checks"]}


def test_the_order_in_time_is_judged(folder):
    result, checks = judged(folder, "same", "1ps")
    assert checks["Order in time"]["level"] == "good"
    assert result["metrics"]["relaxation_error"]["n_model"] == 4000
    result, checks = judged(folder, "shuffled", "1ps")
    assert checks["Order in time"]["level"] == "bad"
    assert "shuffled" in checks["Order in time"]["sentence"]
    # Nothing else is wrong with it.
    assert {c["level"] for a, c in checks.items() if a != "Order in time"} <= {"good", "unknown"}
    _, checks = judged(folder, "fast", "1ps")
    assert checks["Order in time"]["level"] in ("fair", "bad")
    assert "too fast" in checks["Order in time"]["sentence"]


def test_frames_without_common_times_or_memory_are_inconclusive(folder):
    assert judged(folder, "same", "1.5ps")[1]["Order in time"]["level"] == "unknown"
    assert judged(folder, "same", "30ps")[1]["Order in time"]["level"] == "unknown"
    with pytest.raises(MolflowError, match="above 0"):
        judged(folder, "same", "0ps")


def test_times_in_a_file_are_enough(folder):
    assert judged(folder, "same", None)[1]["Order in time"]["level"] == "good"
    # Independent samples have times, too, where the format asks for them.
    order = judged(folder, "shuffled", None)[1]["Order in time"]
    assert order["level"] == "unknown" and "--frame-interval" in order["sentence"]
    made = mdtraj.load(str(folder / "same.h5"))[:400]
    made[np.random.default_rng(0).permutation(400)].save(str(folder / "moved.h5"))
    order = judged(folder, "moved", None)[1]["Order in time"]
    assert order["level"] == "bad" and "order of their times" in order["sentence"]


def test_what_has_no_times_is_told_so_and_what_to_do(folder):
    made = mdtraj.load(str(folder / "same.h5"))[:400]
    made.save(str(folder / "same.dcd"))
    made[0].save(str(folder / "topology.pdb"))
    given, truth = (read_ensemble(folder / name, None) for name in ("same.dcd", "md.h5"))
    reference = reference_from_trajectory(folder / "md.h5")
    times = [part.time for part in truth.chunks(1000)]
    found, (note,) = frame_times(given, times[:1], reference, None)
    assert found is None and "give the time between its frames (--frame-interval" in note
    tempered = {"simulation": {"plan": {"temperatures": [300.0, 400.0]}}}
    found, (note,) = frame_times(truth, times, replace(reference, provenance=tempered), None)
    assert found is None and "replica exchange" in note and "not judged" in note
    found, (note,) = frame_times(truth, times, replace(reference, frame_interval_ps=None), None)
    assert found is None and "are not known" in note
    chains = {"chains": 8, "frames_per_chain": 500, "frame_interval_ps": 0.5}
    found, notes = frame_times(replace(truth, record=chains), times, reference, None)
    assert found.said and found.interval_ps == 0.5 and not notes
    assert np.bincount(found.runs).tolist() == [500] * 8
    assert frame_times(replace(truth, record={"n": 1}), times, reference, None) == (None, [])
