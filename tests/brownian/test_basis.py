"""Covariances of the features, and whitening."""

import math

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment, sample_increment
from molflow.errors import MolflowError


def kernels(basis, h, theta):
    """Kernels of the features on the step, one row each."""
    x = 2 * theta - 1
    rows = [np.polynomial.legendre.Legendre.basis(n)(x) for n in range(basis.order)]
    rows += [np.exp(-p * h * (1 - theta)) for p in basis.rates]
    return np.array(rows)


def quadrature_covariance(basis, h):
    node, weight = np.polynomial.legendre.leggauss(200)
    values = kernels(basis, h, (node + 1) / 2)
    return h * (values * weight / 2) @ values.T


@pytest.mark.parametrize("order", [1, 4, 8, 12])
@pytest.mark.parametrize("h", [0.05, 1.0, 7.0, 30.0, 90.0])
def test_covariance_is_that_of_the_kernels(order, h):
    basis = Basis(order, (1.0, 0.35))
    factor = basis.cholesky(torch.tensor(h, dtype=torch.float64)).numpy()
    assert np.allclose(np.triu(factor, 1), 0)
    expected = quadrature_covariance(basis, h)
    assert np.abs(factor @ factor.T - expected).max() < 1e-13 * h


def test_rest_of_an_exponential_keeps_its_digits_on_short_steps():
    # Leading term of the rest: c_N P_N with c_N = (2N + 1) x^N / (2N + 1)!!, x = p h / 2.
    for order in (1, 4, 9):
        for h in (1e-4, 1e-7):
            factor = Basis(order, (2.0,)).cholesky(torch.tensor(h, dtype=torch.float64))
            double = math.prod(range(1, 2 * order + 2, 2))
            leading = math.sqrt(h * (2 * order + 1)) * math.exp(-h) * h**order / double
            assert float(factor[-1, -1]) == pytest.approx(leading, rel=h)


def test_variance_of_an_exponential_at_any_length():
    for h in (1e-12, 1e-3, 1.0, 8.0, 9.9, 79.0, 81.0, 1e4):
        factor = Basis(4, (1.0,)).cholesky(torch.tensor(h, dtype=torch.float64))
        assert float(factor[-1].square().sum()) == pytest.approx(-math.expm1(-2 * h) / 2, rel=1e-13)


def test_no_length_is_finite_and_zero():
    factor = Basis(4, (1.0,)).cholesky(torch.zeros(2))
    assert torch.equal(factor, torch.zeros(2, 5, 5))


def test_sampled_features_have_the_covariance():
    basis = Basis(3, (1.0, 4.0))
    generator = torch.Generator().manual_seed(3)
    increment = sample_increment(basis, 0.8, (200_000, 1), generator, torch.float64)
    sampled = np.cov(increment.features[:, 0].numpy().T)
    expected = quadrature_covariance(basis, 0.8)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # Standard error of a covariance is below sqrt(2 / 200000) = 0.0032 of the scale.
    assert np.abs((sampled - expected) / scale).max() < 5 * 0.0032


@pytest.mark.parametrize("batched", [False, True])
def test_whitening_undoes_the_factor(batched):
    basis = Basis(4, (1.0, 3.0))
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 2, 3, basis.size, generator=generator, dtype=torch.float64)
    h = torch.linspace(0.5, 3.0, 6, dtype=torch.float64) if batched else torch.tensor(0.7).double()
    made = Increment.from_whitened(basis, h, z)
    recovered = Increment(basis, h, made.features).whitened()
    assert (recovered - z).abs().max() < 1e-8
    assert torch.equal(made.whitened(), z)
    assert torch.equal(made.increment, made.coefficients[..., 0])


def test_whitening_stays_bounded_when_the_rest_drowns_in_rounding():
    basis = Basis(4, (1.0,))
    z = torch.randn(1000, 1, 5, generator=torch.Generator().manual_seed(0))
    for h in (1.0, 1e-2, 1e-5, 1e-9):
        length = torch.tensor(h)
        raw = Increment.from_whitened(basis, length, z).features
        recovered = Increment(basis, length, raw).whitened()
        assert (recovered[..., :4] - z[..., :4]).abs().max() < 1e-5
        assert recovered[..., 4].abs().max() < 5


def test_rotation_turns_every_feature():
    basis = Basis(2, (1.0,))
    generator = torch.Generator().manual_seed(1)
    increment = sample_increment(basis, 1.0, (4, 5, 3), generator)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = increment.rotate(turn)
    for before, after in (
        (increment.features, turned.features),
        (increment.whitened(), turned.whitened()),
    ):
        assert torch.allclose(after[:, :, 0], -before[:, :, 1])
        assert torch.allclose(after[:, :, 1], before[:, :, 0])
    assert torch.allclose(increment.rotate(turn.expand(4, 3, 3)).features, turned.features)


def draw(h, shape):
    return sample_increment(Basis(2), h, shape, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Basis(0), "order is 0"),
        (lambda: Basis(17, (1.0,)), "from 1 to 16"),
        (lambda: Basis(2, (1.0, 1.0)), "distinct"),
        (lambda: Basis(2, (-1.0,)), "positive"),
        (lambda: Increment(Basis(2), torch.tensor(1.0), torch.zeros(4, 3)), "last axis"),
        (lambda: Increment(Basis(2), torch.ones(3), torch.zeros(4, 2)), "batch of 4"),
        (lambda: Basis(2.0), "order is 2.0"),
        (lambda: Basis(2, (float("nan"),)), "positive, finite"),
        (lambda: Increment(Basis(2), torch.tensor(-1.0), torch.zeros(4, 2)), "not come before"),
        (
            lambda: Increment.from_whitened(Basis(2), -torch.ones(4), torch.zeros(4, 2)),
            "t - s = -1",
        ),
        (lambda: draw(-0.5, (4, 3)), "t - s = -0.5"),
        (lambda: draw(float("nan"), (4, 3)), "t - s = nan"),
        (lambda: draw(torch.ones(3), (4, 3)), "batch of 4"),
        (lambda: draw(1.0, ()), "the first the batch"),
        (lambda: draw(1.0, (4, 2)).rotate(torch.eye(3)), "rotated"),
        (lambda: draw(1.0, (4, 5, 3)).rotate(torch.eye(2)), "one matrix"),
        (lambda: draw(1.0, (4, 5, 3)).rotate(torch.eye(3).expand(3, 3, 3)), "one matrix"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
