"""Splitting a step."""

import numpy as np
import pytest
import torch
from scipy import stats

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.brownian.refine import split
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


def test_errors_say_what_to_do():
    generator = torch.Generator().manual_seed(0)
    parent = sample_increment(Basis(2), 1.0, (4, 3), generator)
    with pytest.raises(MolflowError, match="strictly between"):
        split(parent, 1.0, torch.zeros(4, 3, 2))
    with pytest.raises(MolflowError, match="one number for each feature"):
        split(parent, 0.5, torch.zeros(4, 3, 1))
