"""Runs under a bias: crossings, free energies and their errors against known answers."""

import numpy as np
import pytest

from molflow.analysis.flattened import (
    crossings,
    flattened_record,
    format_flattened,
    free_energy_of,
)


def test_crossings_count_passages_and_not_jitter():
    edges = np.array([0, 36])  # tops at -177.5 and 2.5 degrees: two wells
    path = [-90, -5, 10, -5, 90, 100, 5, 0, 5, 90, 175, -170, -90, -90]
    # At the tops nothing counts; the passages are -90 to 90, and 175 past the edge to -90.
    assert crossings(np.radians(path), edges) == 2
    assert crossings(np.radians(path), np.zeros(0, int)) == 0


def two_wells(rng, runs, frames, p, stay):
    """Chains between two places with stationary probabilities (p, 1 - p) under a flat bias."""
    marks, weights, angles = [], [], []
    for _ in range(runs):
        flips = rng.random(frames) > stay
        state = np.cumsum(flips) + rng.integers(2)
        here = state % 2 == 1
        marks.append(here)
        # Half of the frames are in each place, so that the weights carry the probabilities.
        weights.append(np.log(np.where(here, p, 1 - p)))
        angles.append(np.where(here, 1.0, -1.5) + 0.2 * rng.normal(size=frames))
    return marks, weights, angles


def test_error_of_a_free_energy_is_its_scatter():
    """Of a two-state chain: sd of ln(N1/N2) = sqrt(g / (n/4)), g = (1 + r)/(1 - r)."""
    rng = np.random.default_rng(0)
    runs, frames, p, stay = 5, 1600, 0.02, 0.9
    values, errors, inside = [], [], 0
    exact = -np.log(p / (1 - p))
    for _ in range(200):
        marks, weights, _ = two_wells(rng, runs, frames, p, stay)
        found = free_energy_of(marks, weights)
        values.append(found["value"])
        errors.append(found["error"])
        inside += found["interval"][0] < exact < found["interval"][1]
    r = 2 * stay - 1
    expected = np.sqrt((1 + r) / (1 - r) / (runs * frames / 4))
    assert found["blocks"] == 20 and len(found["by_run"]) == runs
    assert np.mean(values) == pytest.approx(exact, abs=4 * expected / np.sqrt(200))
    assert np.std(values) == pytest.approx(expected, rel=0.2)
    assert np.mean(errors) == pytest.approx(expected, rel=0.1)
    assert 0.9 < inside / 200 <= 1.0


def test_a_side_that_was_not_seen():
    weights = [np.zeros(40)]
    never = free_energy_of([np.zeros(40, bool)], weights)
    assert never["value"] is None and never["error"] is None and never["by_run"] == [None]
    once = np.zeros(40, bool)
    once[3] = True  # one block alone has it, so that nothing is known of the error
    found = free_energy_of([once], weights)
    assert found["value"] == pytest.approx(np.log(39)) and found["error"] is None


def test_record_of_runs():
    rng = np.random.default_rng(1)
    marks, weights, phi = two_wells(rng, 4, 2000, 0.1, 0.9)
    psi = [rng.normal(size=2000) for _ in phi]
    angles = [np.stack(pair, axis=1) for pair in zip(phi, psi, strict=True)]
    record = flattened_record(["phi", "psi"], angles, weights, 0.5)
    w = np.exp(np.concatenate(weights))
    assert record["effective_size"] == pytest.approx(w.sum() ** 2 / np.sum(w**2))
    assert record["effective_share"] == pytest.approx(record["effective_size"] / 8000)
    first, second = record["torsions"]
    flips = sum(np.count_nonzero(np.diff(mark)) for mark in marks)
    assert first["crossings"] == pytest.approx(flips, rel=0.02)
    assert first["crossings_per_ns"] == pytest.approx(first["crossings"] / 4.0)
    assert second["wells"] == [] and second["crossings"] == 0
    shares = sorted(well["share"] for well in first["wells"])
    assert shares == pytest.approx([0.1, 0.9], abs=0.02)
    rare = min(first["wells"], key=lambda well: well["share"])
    assert rare["delta_f"]["value"] == pytest.approx(np.log(9), abs=0.2)
    assert record["delta_f_alpha_l"]["value"] == pytest.approx(rare["delta_f"]["value"], abs=1e-2)
    text = format_flattened(record)
    assert "phi: 2 wells" in text and "psi: one well, 0 crossings" in text
