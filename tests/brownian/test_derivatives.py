"""Moving an end of the step along a fixed polynomial path."""

import numpy as np
import pytest
import torch

from molflow.brownian import derivatives
from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment

BASIS = Basis(5, (1.3,))
COEFFICIENTS = np.array([0.7, -0.4, 0.9, 0.2, -0.5])
START, END = 0.4, 1.9


def path_rate(u):
    """w(u), the derivative of the polynomial path fixed by COEFFICIENTS on [START, END]."""
    h = END - START
    x = 2 * (u - START) / h - 1
    return sum(
        (2 * n + 1) / h * c * np.polynomial.legendre.Legendre.basis(n)(x)
        for n, c in enumerate(COEFFICIENTS)
    )


def features(s, t):
    """Features of that path on [s, t], by quadrature."""
    node, weight = np.polynomial.legendre.leggauss(60)
    u = s + (t - s) * (node + 1) / 2
    rows = [np.polynomial.legendre.Legendre.basis(n)(node) for n in range(BASIS.order)]
    rows += [np.exp(-p * (t - u)) for p in BASIS.rates]
    return (np.array(rows) * path_rate(u) * weight * (t - s) / 2).sum(1)


@pytest.fixture(params=[(), (4,)])
def increment(request):
    values = torch.tensor(features(START, END)).expand(4, 2, 3, BASIS.size)
    h = torch.full(request.param, END - START, dtype=torch.float64)
    return Increment(BASIS, h, values)


def test_polynomial_path_has_the_coefficients():
    assert np.abs(features(START, END)[:5] - COEFFICIENTS).max() < 1e-14


def test_rates_at_the_ends(increment):
    start, end = derivatives.path_rate_at_start(increment), derivatives.path_rate_at_end(increment)
    assert (start - path_rate(START)).abs().max() < 1e-13
    assert (end - path_rate(END)).abs().max() < 1e-13


def test_derivatives_are_finite_differences(increment):
    step = 1e-5
    by_start = (features(START + step, END) - features(START - step, END)) / (2 * step)
    by_end = (features(START, END + step) - features(START, END - step)) / (2 * step)
    for measured, expected in (
        (derivatives.features_by_start(increment), by_start),
        (derivatives.features_by_end(increment), by_end),
    ):
        assert (measured - torch.tensor(expected)).abs().max() < 1e-8
