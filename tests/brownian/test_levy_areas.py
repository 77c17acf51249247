"""Increment and Levy areas."""

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.levy_areas import increment_from_levy_areas, levy_areas
from molflow.errors import MolflowError


def areas_by_definition(dw, times):
    """W, H, K of a path with constant derivative between times; Simpson's rule is exact."""
    h = times[-1] - times[0]
    w = np.concatenate([np.zeros((len(dw), 1)), np.cumsum(dw, axis=1)], axis=1)
    bridge = w - (times - times[0]) / h * w[:, -1:]
    weight = h / 2 - (times - times[0])

    def integral(values, factors):
        middle = (values[:, 1:] + values[:, :-1]) * (factors[1:] + factors[:-1])
        ends = values[:, 1:] * factors[1:] + values[:, :-1] * factors[:-1]
        return ((ends + middle) / 6) @ np.diff(times)

    area = integral(bridge, np.ones_like(times)) / h
    return np.stack([w[:, -1], area, integral(bridge, weight) / h**2], axis=1)


def test_areas_are_those_of_a_path():
    generator = np.random.default_rng(5)
    times = 1.3 * np.sort(np.concatenate([[0, 1], generator.random(40)]))
    dw = generator.normal(size=(7, 41)) * np.sqrt(np.diff(times))
    theta = times / 1.3
    basis = [np.polynomial.legendre.Legendre.basis(n, domain=[0, 1]).integ() for n in range(4)]
    features = dw @ np.array([np.diff(p(theta)) / np.diff(theta) for p in basis]).T
    increment = Increment(Basis(4), torch.tensor(1.3), torch.tensor(features))
    expected = areas_by_definition(dw, times)
    assert np.abs(expected).min() > 1e-4
    assert np.abs(levy_areas(increment).numpy() - expected).max() < 1e-12


def test_variances_are_h_and_its_twelfth_and_720th():
    generator = torch.Generator().manual_seed(2)
    areas = levy_areas(sample_increment(Basis(3), 0.6, (200_000, 1), generator, torch.float64))
    covariance = np.cov(areas[:, 0].numpy().T)
    widths = np.sqrt(0.6 / np.array([1.0, 12.0, 720.0]))
    assert np.abs(covariance / np.outer(widths, widths) - np.eye(3)).max() < 5 * 0.0032


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("batched", [False, True])
def test_back_gives_the_same_increment(order, batched):
    generator = torch.Generator().manual_seed(1)
    h = torch.tensor([0.1, 2.0, 0.7]) if batched else torch.tensor(0.7)
    increment = sample_increment(Basis(order), h.double(), (3, 2, 3), generator, torch.float64)
    kept = min(order, 3)
    again = increment_from_levy_areas(increment.h, levy_areas(increment))
    assert again.basis == Basis(kept)
    assert (again.features - increment.features[..., :kept]).abs().max() < 1e-15
    assert (again.whitened() - increment.whitened()[..., :kept]).abs().max() < 1e-14


@pytest.mark.parametrize(
    ("h", "shape", "words"),
    [
        (1.0, (4, 2, 4), "the last axis must hold W"),
        (1.0, (4, 2, 0), "the last axis must hold W"),
        (1.0, (3,), "the last axis must hold W"),
        (-1.0, (4, 2, 3), "length h = t - s = -1"),
        ([1.0, 2.0], (4, 2, 3), "for a batch of 4"),
    ],
)
def test_errors_say_what_to_do(h, shape, words):
    with pytest.raises(MolflowError, match=words):
        increment_from_levy_areas(torch.tensor(h), torch.zeros(shape))
