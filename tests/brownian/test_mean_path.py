"""The path that the features describe."""

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.brownian.mean_path import mean_path
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError

THETA = np.array([0.0, 0.03, 0.5, 0.77, 1.0])


def regression(basis, h):
    """E[W_u - W_s | features] = Cov(W_u - W_s, features) Cov(features)^-1, by quadrature."""

    def kernels(theta):
        rows = [np.polynomial.legendre.Legendre.basis(n)(2 * theta - 1) for n in range(basis.order)]
        return np.array(rows + [np.exp(-p * h * (1 - theta)) for p in basis.rates])

    node, weight = np.polynomial.legendre.leggauss(80)
    node, weight = (node + 1) / 2, weight / 2
    within = h * (kernels(node) * weight) @ kernels(node).T
    across = np.array([h * end * kernels(end * node) @ weight for end in THETA])
    return np.linalg.solve(within, across.T).T


@pytest.mark.parametrize("basis", [Basis(1), Basis(5), Basis(3, (1.3,)), Basis(2, (1.0, 6.0))])
@pytest.mark.parametrize("batched", [False, True])
def test_it_is_the_regression_on_the_features(basis, batched):
    h = torch.tensor([0.4, 2.0], dtype=torch.float64) if batched else torch.tensor(2.0).double()
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(basis, h, (2, 3), generator, torch.float64)
    found = mean_path(increment, torch.tensor(THETA))
    for k, length in enumerate(h.expand(2).tolist()):
        expected = increment.features[k].numpy() @ regression(basis, length).T
        assert np.abs(found[k].numpy() - expected).max() < 1e-9
    assert (found[..., 0] == 0).all()
    assert (found[..., -1] - increment.increment).abs().max() < 1e-12


@pytest.mark.parametrize("order", [1, 2, 4, 8])
def test_mean_square_error_of_the_path(order):
    """h N/(2 (4 N^2 - 1)), measured against the points of a path asked again more finely."""
    h, cells, count = 1.5, 128, 4000
    path = BrownianPath(Basis(order), 0.0, h, (count,), 4, depth=7, dtype=torch.float64)
    times = [h * k / cells for k in range(cells + 1)]
    changes = [path.increment(*ends).increment for ends in zip(times, times[1:], strict=False)]
    walked = torch.cumsum(torch.stack(changes, dim=-1), dim=-1)
    theta = torch.arange(1, cells + 1, dtype=torch.float64) / cells
    squares = (mean_path(path.increment(0.0, h), theta) - walked).square().mean(-1)
    expected = h * order / (2 * (4 * order**2 - 1))
    error = 5 * float(squares.std()) / count**0.5
    assert error < 0.1 * expected
    # The mean over the points differs from that over the step by at most h / cells^2.
    assert float(squares.mean()) == pytest.approx(expected, abs=error + h / cells**2)


def test_it_passes_through_the_joined_parts_only_on_average():
    generator = torch.Generator().manual_seed(0)
    left, right = (
        sample_increment(Basis(3), 0.5, (20_000, 1), generator, torch.float64) for _ in "ab"
    )
    rest = left.increment - mean_path(join(left, right), torch.tensor([0.5]))[..., 0]
    z = join(left, right).whitened()[:, 0]
    # What is left is independent of the features and not nothing.
    assert float(rest.std()) > 0.1
    assert (rest * z).mean(0).abs().max() < 5 * float(rest.std()) / 20_000**0.5


@pytest.mark.parametrize("theta", [[0.5, 1.1], [-0.1], [[0.5]], [float("nan")]])
def test_shares_lie_in_the_step(theta):
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(Basis(2), 0.5, (4, 2), generator)
    with pytest.raises(MolflowError, match="numbers from 0 to 1"):
        mean_path(increment, torch.tensor(theta))
