"""Umbrella sampling: weights against a known density, and going on bit by bit."""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import umbrella

from molflow.analysis.torsion_metrics import in_alpha_l
from molflow.md.bias import TorsionBias
from molflow.md.build import make_simulation
from molflow.md.torsions import torsion
from molflow.systems import load_system
from molflow.units import thermal_energy

TORSIONS = (((4, 6, 8, 14), (6, 8, 14, 16)),)


def energy(phi):
    """Wells at about -1.5 and 1 rad under a barrier of 30 kJ/mol, kJ/mol."""
    return 15 * (1 - np.cos(2 * phi - 1)) + 4 * np.sin(phi)


def common(phi):
    """A bias that all windows share, kJ/mol."""
    return -6 * np.cos(phi + 0.5)


def test_spline_is_that_of_the_simulation():
    table = np.random.default_rng(0).normal(size=(24, 24))
    bias = TorsionBias(TORSIONS, (table,))
    system = load_system("alanine_dipeptide")
    context = make_simulation(system, 300.0, 1, "Reference", bias.forces()).context
    rng, angles, expected = np.random.default_rng(1), [], []
    for _ in range(20):
        at = system.start_positions() + 0.05 * rng.normal(size=(22, 3))
        context.setPositions(at)
        expected.append(bias.energy(context))
        angles.append([torsion(at[None], list(atoms))[0] for atoms in TORSIONS[0]])
    found = umbrella.spline(table, np.array(angles).reshape(4, 5, 2))
    assert found.ravel() == pytest.approx(np.array(expected), abs=1e-10)


def test_weights_of_a_known_density(monkeypatch):
    kt, rng = thermal_energy(300.0), np.random.default_rng(0)
    grid = np.linspace(-np.pi, np.pi, 7200, endpoint=False)
    samples = []
    for centre in umbrella.centres():
        held = energy(grid) + common(grid) + umbrella.K * (1 - np.cos(grid - centre))
        density = np.exp(-held / kt)
        samples.append(rng.choice(grid, 400, p=density / density.sum()))
    first = np.array(samples).T
    weights = np.exp(umbrella.mbar_log_weights(first, common(first), kt)[0])
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
    runs = [np.stack([part, 0 * part], axis=-1) for part in np.split(first, 2)]
    knots = -np.pi + 2 * np.pi * np.arange(96) / 96
    table = np.repeat(common(knots)[:, None], 96, axis=1)
    monkeypatch.setattr(umbrella, "BLOCKS", 6)
    found = umbrella.umbrella_free_energy(runs, table, in_alpha_l, kt)
    weight = weights[inside[0]].sum()
    assert found["value"] == pytest.approx(np.log((1 - weight) / weight), abs=1e-4)
    assert 0.01 < found["error"] < 0.25 and len(found["by_run"]) == 2 and found["blocks"] == 6
    assert abs(found["value"] - np.log(rest / left)) < 3 * found["error"]


def _run(folder, length, queue):
    umbrella.WINDOWS, umbrella.SEGMENT = 4, 2
    umbrella.ALONE = umbrella.DROPPED = 0.5
    bias = TorsionBias(TORSIONS, (np.random.default_rng(0).normal(size=(24, 24)),))
    system = load_system("alanine_dipeptide")
    queue.put(umbrella.umbrella_run(system, bias, length, 3, folder))


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
