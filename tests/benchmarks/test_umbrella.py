"""Umbrella sampling: weights against a known density, and going on bit by bit."""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import umbrella

from molflow.systems import load_system
from molflow.units import thermal_energy


def energy(phi):
    """Wells at about -1.5 and 1 rad under a barrier of 30 kJ/mol, kJ/mol."""
    return 15 * (1 - np.cos(2 * phi - 1)) + 4 * np.sin(phi)


def test_weights_of_a_known_density(monkeypatch):
    kt, rng = thermal_energy(300.0), np.random.default_rng(0)
    grid = np.linspace(-np.pi, np.pi, 7200, endpoint=False)
    samples = []
    for centre in umbrella.centres():
        density = np.exp(-(energy(grid) + umbrella.K * (1 - np.cos(grid - centre))) / kt)
        samples.append(rng.choice(grid, 400, p=density / density.sum()))
    first = np.array(samples).T
    weights = np.exp(umbrella.mbar_log_weights(first, kt)[0])
    assert weights.shape == first.shape == (400, umbrella.WINDOWS)
    assert weights.sum() == pytest.approx(1.0)
    exact = np.exp(-energy(grid) / kt)
    edges = np.linspace(-np.pi, np.pi, 25)
    found, _ = np.histogram(first, edges, weights=weights)
    expected, _ = np.histogram(grid, edges, weights=exact / exact.sum())
    seen = expected > 1e-4
    assert np.abs(np.log(found[seen] / expected[seen])).max() < 0.3
    inside = (first > 0) & (first < 2), (grid > 0) & (grid < 2)
    left, rest = exact[inside[1]].sum(), exact[~inside[1]].sum()
    runs = [part[..., None] for part in np.split(first, 2)]
    monkeypatch.setattr(umbrella, "BLOCKS", 6)
    found = umbrella.umbrella_free_energy(runs, lambda x: (x[:, 0] > 0) & (x[:, 0] < 2), kt)
    weight = weights[inside[0]].sum()
    assert found["value"] == pytest.approx(np.log((1 - weight) / weight), abs=1e-6)
    assert 0.01 < found["error"] < 0.25 and len(found["by_run"]) == 2 and found["blocks"] == 6
    assert abs(found["value"] - np.log(rest / left)) < 3 * found["error"]


def _run(folder, length, queue):
    umbrella.WINDOWS, umbrella.SEGMENT = 4, 2
    umbrella.ALONE = umbrella.DROPPED = 0.5
    torsions = [[4, 6, 8, 14], [6, 8, 14, 16]]
    system = load_system("alanine_dipeptide")
    queue.put(umbrella.umbrella_run(system, torsions, length, 3, folder))


def test_runs_go_on_bit_by_bit(tmp_path):
    """Each in a process of its own, since the generators are those of the process."""
    spawn = multiprocessing.get_context("spawn")

    def run(name, length):
        queue = spawn.Queue()
        process = spawn.Process(target=_run, args=(tmp_path / name, length, queue))
        process.start()
        found = queue.get(timeout=120)
        process.join()
        return found

    whole = run("whole", 2.5)
    assert whole.shape == (5, 4, 2) and np.isfinite(whole).all()
    run("parts", 1.5)
    assert np.array_equal(run("parts", 2.5), whole)
    assert np.ptp(whole[..., 0], axis=1).min() > 0.5  # the windows hold different torsions
