"""Moving an end of the step along a fixed smooth path."""

import numpy as np
import pytest
import torch

from molflow.brownian import derivatives
from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError

START, END = 0.4, 1.9
VALUES = np.array([0.7, -0.4, 0.9, 0.2, -0.5])


def kernels(basis, s, t, u):
    """Kernels of the features on [s, t] at u, one row each."""
    x = 2 * (u - s) / (t - s) - 1
    rows = [np.polynomial.legendre.Legendre.basis(n)(x) for n in range(basis.order)]
    return np.array(rows + [np.exp(-p * (t - u)) for p in basis.rates])


def factor(basis, h):
    return basis.cholesky(torch.tensor(h, dtype=torch.float64)).numpy()


def path_rate(basis, u):
    """w(u) of the mean path whose whitened features on [START, END] are VALUES."""
    inverse = np.linalg.inv(factor(basis, END - START))
    return (inverse.T @ VALUES[: basis.size]) @ kernels(basis, START, END, u)


def features(basis, s, t):
    """Features of that path on [s, t], by quadrature."""
    node, weight = np.polynomial.legendre.leggauss(60)
    u = s + (t - s) * (node + 1) / 2
    return (kernels(basis, s, t, u) * path_rate(basis, u) * weight * (t - s) / 2).sum(1)


def whitened(basis, s, t):
    return np.linalg.solve(factor(basis, t - s), features(basis, s, t))


def slope(function, basis, end):
    """Central difference of fourth order in s or t."""

    def at(k):
        move = 1e-3 * k
        return function(basis, START + move * (not end), END + move * end)

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / 12e-3


@pytest.fixture(params=[Basis(5), Basis(4, (1.3,)), Basis(3, (1.3, 4.0)), Basis(2, (20.0,))])
def basis(request):
    return request.param


@pytest.fixture(params=[(), (4,)])
def increment(request, basis):
    z = torch.tensor(VALUES[: basis.size]).expand(4, 2, 3, basis.size)
    h = torch.full(request.param, END - START, dtype=torch.float64)
    return Increment.from_whitened(basis, h, z)


def test_the_path_has_the_features(basis, increment):
    assert (increment.features - torch.tensor(features(basis, START, END))).abs().max() < 1e-12


def test_rates_at_the_ends(basis, increment):
    start, end = derivatives.path_rate_at_start(increment), derivatives.path_rate_at_end(increment)
    assert (start - path_rate(basis, START)).abs().max() < 1e-9
    assert (end - path_rate(basis, END)).abs().max() < 1e-9


@pytest.mark.parametrize("end", [False, True])
def test_derivatives_are_finite_differences(basis, increment, end):
    name = "end" if end else "start"
    for kind, function in (("features", features), ("whitened", whitened)):
        measured = getattr(derivatives, f"{kind}_by_{name}")(increment)
        expected = torch.tensor(slope(function, basis, end))
        assert (measured - expected).abs().max() < 1e-6 * (1 + expected.abs().max())


def test_formulas_of_the_polynomial_path():
    increment = Increment(Basis(5), torch.tensor(1.5).double(), torch.tensor(VALUES)[None])
    for n in range(5):
        later = range(n + 1, 5)
        start = -(n + 1) * VALUES[n] - sum((-1) ** (n + m) * (2 * m + 1) * VALUES[m] for m in later)
        end = (n + 1) * VALUES[n] + sum((2 * m + 1) * VALUES[m] for m in later)
        by_start = derivatives.features_by_start(increment)[0, n]
        by_end = derivatives.features_by_end(increment)[0, n]
        assert float(by_start) == pytest.approx(start / 1.5, abs=1e-13)
        assert float(by_end) == pytest.approx(end / 1.5, abs=1e-13)


def test_whitened_derivative_scales_with_the_step_down_to_short_steps():
    # As q goes to 0 the rest of F_p becomes one more Legendre polynomial: h dz/ds has a limit.
    basis, more = Basis(4, (1.0,)), Basis(5)
    z = torch.tensor(VALUES, dtype=torch.float32)[None]
    limit = derivatives.whitened_by_start(Increment.from_whitened(more, torch.tensor(1.0), z))
    for h in (1e-2, 1e-5):
        short = Increment.from_whitened(basis, torch.tensor(h), z)
        scaled = h * derivatives.whitened_by_start(short)
        assert (scaled - limit).abs().max() < 20 * h + 1e-5


@pytest.mark.parametrize("basis", [Basis(3), Basis(2, (1.0,))])
@pytest.mark.parametrize("h", [0.0, [0.5, 0.0]])
def test_a_step_of_no_length_has_no_smooth_path(basis, h):
    z = torch.zeros(2, 3, basis.size)
    increment = Increment.from_whitened(basis, torch.tensor(h), z)
    for name in ("features_by", "whitened_by", "path_rate_at"):
        for end in ("start", "end"):
            with pytest.raises(MolflowError, match="t must come after s"):
                getattr(derivatives, f"{name}_{end}")(increment)
