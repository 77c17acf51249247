"""The path walked backward."""

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.reversal import reverse
from molflow.errors import MolflowError


def legendre_features(order, dw, times):
    """I^n of a path with constant derivative between times, by exact antiderivatives."""
    theta = (times - times[0]) / (times[-1] - times[0])
    rows = []
    for n in range(order):
        whole = np.polynomial.legendre.Legendre.basis(n, domain=[0, 1]).integ()(theta)
        rows.append(np.diff(whole) / np.diff(theta))
    return dw @ np.array(rows).T


def test_features_are_those_of_the_path_walked_backward():
    generator = np.random.default_rng(3)
    times = 0.4 + 1.7 * np.sort(np.concatenate([[0, 1], generator.random(50)]))
    dw = generator.normal(size=(6, 51)) * np.sqrt(np.diff(times))
    forward = torch.tensor(legendre_features(8, dw, times))
    # Time runs from t to s and every change of W is undone.
    backward = legendre_features(8, -dw[:, ::-1], (times[-1] - times)[::-1])
    increment = Increment(Basis(8), torch.tensor(1.7, dtype=torch.float64), forward)
    found = reverse(increment)
    assert float(found.h) == 1.7
    assert np.abs(found.features.numpy() - backward).max() < 1e-12
    assert np.abs(forward.numpy() - backward).max() > 0.1
    assert (found.increment + increment.increment).abs().max() < 1e-15


@pytest.mark.parametrize("lengths", [(0.2, 1.1), ([0.1, 0.9, 0.3], [1.0, 0.2, 0.0])])
def test_parts_swap_places_and_twice_is_nothing(lengths):
    generator = torch.Generator().manual_seed(0)
    left, right = (
        sample_increment(
            Basis(5), torch.tensor(h, dtype=torch.float64), (3, 2), generator, torch.float64
        )
        for h in lengths
    )
    whole = reverse(join(left, right))
    swapped = join(reverse(right), reverse(left))
    assert (whole.whitened() - swapped.whitened()).abs().max() < 1e-12
    assert (whole.features - swapped.features).abs().max() < 1e-12
    assert torch.equal(reverse(whole).whitened(), join(left, right).whitened())


def test_exponential_features_cannot_be_reversed():
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(Basis(3, (1.0,)), 0.5, (4, 2), generator)
    with pytest.raises(MolflowError, match="Reverse an increment without rates"):
        reverse(increment)
