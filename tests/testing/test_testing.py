"""The public test kit: it must pass what is right and fail what is wrong."""

import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.increment import sample_increment
from molflow.testing import assert_equivariant, random_rotations


def chiral(x, increment):
    """Equivariant under rotations; the cross product breaks parity."""
    noise = increment.whitened()
    return x * x.square().sum((1, 2), keepdim=True) + torch.linalg.cross(x, noise[..., 1])


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(Basis(2, (1.0,)), 0.5, (4, 5, 3), generator, torch.float64)
    return torch.randn(4, 5, 3, generator=generator, dtype=torch.float64), increment, generator


def test_rotations_are_proper_and_uniform():
    rotations = random_rotations(20_000, torch.Generator().manual_seed(0))
    assert (rotations @ rotations.mT - torch.eye(3)).abs().max() < 1e-12
    assert (torch.linalg.det(rotations) - 1).abs().max() < 1e-12
    # Entries of a uniform rotation have mean 0 and variance 1/3.
    assert rotations.mean(0).abs().max() < 5 * (1 / 3 / 20_000) ** 0.5
    assert (rotations.var(0) - 1 / 3).abs().max() < 0.02


def test_chiral_map_passes(inputs):
    assert_equivariant(chiral, *inputs, tolerance=1e-10)


def test_map_without_hand_is_noticed(inputs):
    def mirrored(x, increment):
        return x + increment.increment

    assert_equivariant(mirrored, *inputs, tolerance=1e-10, mirror=False)
    with pytest.raises(AssertionError, match="knows no hand"):
        assert_equivariant(mirrored, *inputs, tolerance=1e-10)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, increment: x + 1.0,
        lambda x, increment: x + increment.features.sum(-1).abs(),
        lambda x, increment: x * torch.tensor([1.0, 1.0, 1.1]),
    ],
)
def test_map_that_does_not_turn_is_noticed(inputs, wrong):
    with pytest.raises(AssertionError, match="away from the rotated result"):
        assert_equivariant(wrong, *inputs)
