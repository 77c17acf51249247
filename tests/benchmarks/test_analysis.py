"""The defects that the benchmark makes are what they are called, and its figures stand."""

import importlib.util
import json
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from molflow.analysis.geometry import measure, terms
from molflow.analysis.limits import limits_of
from molflow.analysis.stereo import stereocentres
from molflow.analysis.torsions import phi_psi
from molflow.analysis.validity import check_validity
from molflow.comparison import find_reference

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


@pytest.fixture(scope="module")
def frames():
    reference = find_reference("alanine_dipeptide")
    return mdtraj.Trajectory(reference.positions[::5], reference.topology)


def test_stiffened_bonds_have_the_variance_of_larger_force_constants(benchmark, frames):
    made = benchmark.stiffened(frames, 1.2)
    listed = terms(frames.topology)
    before, after = measure(frames.xyz, listed), measure(made.xyz, listed)
    bonds = np.array([term.kind == "bond" for term in listed])
    ratio = after[:, bonds].var(axis=0) / before[:, bonds].var(axis=0)
    assert ratio == pytest.approx(1 / 1.2, rel=1e-3)
    assert after[:, bonds].mean(axis=0) == pytest.approx(before[:, bonds].mean(axis=0), abs=1e-6)
    assert np.abs(after[:, ~bonds] - before[:, ~bonds]).max() < 1e-3
    assert np.abs(np.angle(np.exp(1j * (phi_psi(made) - phi_psi(frames))))).max() < 1e-3


def test_mirrored_broken_and_repeated_frames_are_counted(benchmark, frames):
    rng, topology = np.random.default_rng(0), frames.topology
    limits = limits_of(frames.xyz, topology, stereocentres(topology))

    def counts(made):
        return check_validity(made.xyz, limits).counts()

    n = len(frames)
    assert counts(frames)["strictly_valid"] == n
    mirrored = counts(benchmark.mirrored(frames, 0.5, rng))
    assert mirrored["wrong_hand"] == pytest.approx(n / 2, rel=0.2)
    broken = counts(benchmark.broken(frames, 0.5, rng))
    assert broken["broken_bond"] == pytest.approx(n / 2, rel=0.2) and broken["wrong_hand"] == 0
    copies = benchmark.repeated(frames, 0.5, rng).xyz
    assert np.all(copies == copies[0], axis=(1, 2)).sum() == pytest.approx(n / 2, rel=0.2)
    phi = phi_psi(benchmark.without_alpha_l(frames))[:, 0]
    assert not np.any((phi > 0) & (phi < 2)) and len(phi) < n


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
