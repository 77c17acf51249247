"""Splitting a step."""

import numpy as np
import pytest
import torch
from scipy import stats

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.refine import split, split_matrix
from molflow.errors import MolflowError


@pytest.mark.parametrize("basis", [Basis(1), Basis(6), Basis(4, (1.0,))])
@pytest.mark.parametrize("fraction", [0.5, 0.13])
@pytest.mark.parametrize("h", [1e-4, 0.6, 8.5])
def test_join_undoes_split(basis, fraction, h):
    generator = torch.Generator().manual_seed(0)
    parent = sample_increment(basis, h, (10, 2, 3), generator, torch.float64)
    xi = torch.randn(parent.features.shape, generator=generator, dtype=torch.float64)
    left, right = split(parent, fraction, xi)
    again = join(left, right)
    assert float(left.h) == pytest.approx(fraction * h)
    assert (again.whitened() - parent.whitened()).abs().max() < 1e-12
    assert (again.features - parent.features).abs().max() < 1e-12


def test_batched_fractions():
    basis = Basis(3, (2.0,))
    generator = torch.Generator().manual_seed(0)
    h = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64)
    parent = sample_increment(basis, h, (3, 2, 3), generator, torch.float64)
    xi = torch.randn(parent.features.shape, generator=generator, dtype=torch.float64)
    again = join(*split(parent, torch.tensor([0.2, 0.5, 0.9]), xi))
    assert (again.whitened() - parent.whitened()).abs().max() < 1e-12


def test_random_splits_leave_independent_standard_normals():
    basis = Basis(3, (1.0,))
    generator = torch.Generator().manual_seed(7)
    parts = [sample_increment(basis, 2.0, (20_000, 1), generator, torch.float64)]
    for fraction in (0.5, 0.21, 0.83):
        last = parts.pop()
        xi = torch.randn(last.features.shape, generator=generator, dtype=torch.float64)
        parts += split(last, fraction, xi)
    z = torch.cat([part.whitened()[:, 0] for part in parts], dim=1).numpy()
    assert z.shape[1] == 16
    assert min(stats.kstest(column, "norm").pvalue for column in z.T) > 1e-5
    correlation = np.corrcoef(z.T) - np.eye(16)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def whitened_kernels(basis, start, end, u):
    """Whitened kernels of the step [start, end] at u, and 0 outside; one row each."""
    h = end - start
    inside = np.clip((u - start) / h, 0, 1)
    rows = [np.polynomial.legendre.Legendre.basis(n)(2 * inside - 1) for n in range(basis.order)]
    rows += [np.exp(-p * h * (1 - inside)) for p in basis.rates]
    factor = basis.cholesky(torch.tensor(h, dtype=torch.float64)).numpy()
    return np.linalg.solve(factor, np.array(rows) * ((u > start) & (u < end)))


@pytest.mark.parametrize("basis", [Basis(1), Basis(4), Basis(3, (1.0,))])
@pytest.mark.parametrize("fraction", [0.5, 0.17])
def test_parts_of_one_parent_have_the_conditional_law(basis, fraction):
    """N(C z, 1 - C C^T) with C the covariance of parts and parent, by quadrature."""
    h, count = 1.6, 40_000
    node, weight = np.polynomial.legendre.leggauss(40)
    node, weight = (node + 1) / 2, weight / 2
    cut = fraction * h
    u = np.concatenate([cut * node, cut + (h - cut) * node])
    weight = np.concatenate([cut * weight, (h - cut) * weight])
    parts = np.concatenate([whitened_kernels(basis, *ends, u) for ends in ((0.0, cut), (cut, h))])
    seen = (parts * weight) @ whitened_kernels(basis, 0.0, h, u).T

    generator = torch.Generator().manual_seed(11)
    z = torch.randn(basis.size, generator=generator, dtype=torch.float64) + 1.0
    parent = Increment.from_whitened(basis, torch.tensor(h), z.expand(count, 1, -1))
    xi = torch.randn(parent.features.shape, generator=generator, dtype=torch.float64)
    drawn = np.concatenate(
        [part.whitened()[:, 0].numpy() for part in split(parent, fraction, xi)], axis=1
    )
    spread = np.eye(2 * basis.size) - seen @ seen.T
    rest = drawn - seen @ z.numpy()
    assert np.abs(np.cov(rest.T) - spread).max() < 5 * np.sqrt(2 / count)
    widths = np.sqrt(np.diag(spread))
    columns = [rest[:, k] / widths[k] for k in range(len(widths)) if widths[k] > 1e-6]
    assert len(columns) == 2 * basis.size
    assert min(stats.kstest(column, "norm").pvalue for column in columns) > 1e-5


@pytest.mark.parametrize("order", [1, 4, 32])
@pytest.mark.parametrize("fraction", [0.5, 0.03, 0.71])
def test_split_undoes_join(order, fraction):
    """The numbers that a parent does not say are Q^T of its parts, Q of the splitting matrix."""
    basis, generator = Basis(order), torch.Generator().manual_seed(5)
    h = torch.tensor([2.0 * fraction, 2.0 - 2.0 * fraction], dtype=torch.float64)
    left, right = (
        sample_increment(basis, length, (20, 3), generator, torch.float64) for length in h
    )
    both = torch.cat([left.whitened(), right.whitened()], dim=-1)
    xi = (both @ split_matrix(basis, h[0], h[1]))[..., order:]
    for part, again in zip((left, right), split(join(left, right), fraction, xi), strict=True):
        assert (again.whitened() - part.whitened()).abs().max() < 1e-12
        assert (again.features - part.features).abs().max() < 1e-12
        assert float(again.h) == pytest.approx(float(part.h), rel=1e-14)


def test_errors_say_what_to_do():
    generator = torch.Generator().manual_seed(0)
    parent = sample_increment(Basis(2), 1.0, (4, 3), generator)
    with pytest.raises(MolflowError, match="for a batch of 4"):
        split(parent, torch.tensor([0.2, 0.5, 0.9]), torch.zeros(4, 3, 2))
    with pytest.raises(MolflowError, match="strictly between"):
        split(parent, torch.tensor([0.2, 0.5, float("nan"), 0.1]), torch.zeros(4, 3, 2))
    with pytest.raises(MolflowError, match="strictly between"):
        split(parent, 1.0, torch.zeros(4, 3, 2))
    with pytest.raises(MolflowError, match="one number for each feature"):
        split(parent, 0.5, torch.zeros(4, 3, 1))
