"""The error that a diffusion foretells, against a formula."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import bias_choice


def test_variance_of_a_free_diffusion():
    """On a flat circle cos(x) decays at the rate 2 - 2 cos(2 pi / n): s = 2 <cos^2> / rate."""
    n = 16
    x = 2 * np.pi * np.arange(n) / n
    functions = np.stack([np.repeat(np.cos(k * x), n) for k in (1, 2)], axis=1) + 3.0
    found = bias_choice.variances(np.zeros((n, n)), functions)
    expected = [1.0 / (2 - 2 * np.cos(2 * np.pi * k / n)) for k in (1, 2)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_generator_keeps_the_boltzmann_density():
    potential = np.random.default_rng(0).normal(size=(6, 6))
    p = np.exp(-potential).ravel()
    matrix = bias_choice.generator(potential).toarray()
    assert np.abs(p @ matrix).max() < 1e-12 and np.abs(matrix.sum(axis=1)).max() < 1e-12
    flow = p[:, None] * matrix
    assert np.abs(flow - flow.T).max() < 1e-12


def test_two_wells_are_crossed_more_often_under_a_bias():
    n = 16
    x = -np.pi + 2 * np.pi * (np.arange(n) + 0.5) / n
    truth = np.repeat(5 * (1 + np.cos(2 * (x - 1.0 + np.pi / 2))), n).reshape(n, n)
    smooth = bias_choice.smoothing(n, 20.0)
    plain, biased = (bias_choice.of_bias(truth, 10.0, c, smooth) for c in (1.0, 10.0))
    assert plain["effective_share"] == pytest.approx(1.0)
    assert 0.2 < biased["effective_share"] < 0.9
    assert biased["delta_f"] < 0.05 * plain["delta_f"]
