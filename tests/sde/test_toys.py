"""Toy systems with exact answers."""

import numpy as np
import pytest
import torch

from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck


def test_ornstein_uhlenbeck_keeps_its_stationary_law():
    sde = OrnsteinUhlenbeck(rate=1.7, diffusion=0.6, mean=2.0)
    generator = torch.Generator().manual_seed(0)
    count = 200_000
    width = 0.6 / np.sqrt(2 * 1.7)
    x = 2.0 + width * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    increment = sample_increment(sde.basis(2), 0.9, (count, 1), generator, torch.float64)
    y = sde.exact(0.0, 0.9, x, increment)
    assert float(y.mean()) == pytest.approx(2.0, abs=5 * width / count**0.5)
    assert float(y.std()) == pytest.approx(width, rel=5 / (2 * count) ** 0.5)
    covariance = float(((x - 2) * (y - 2)).mean())
    assert covariance == pytest.approx(width**2 * np.exp(-1.7 * 0.9), abs=5 * width**2 / count**0.5)


def test_ornstein_uhlenbeck_map_composes():
    sde = OrnsteinUhlenbeck(rate=0.8, diffusion=1.1, mean=-1.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    left, right = (
        sample_increment(sde.basis(3), h, (5, 3), generator, torch.float64) for h in (0.4, 1.5)
    )
    two = sde.exact(0.4, 1.9, sde.exact(0.0, 0.4, x, left), right)
    one = sde.exact(0.0, 1.9, x, join(left, right))
    assert (one - two).abs().max() < 1e-13


def mixture():
    means = torch.tensor([[-2.0, 0.0], [1.5, 0.5]], dtype=torch.float64)
    widths, weights = torch.tensor([[0.3, 0.8], [1.0, 3.0]], dtype=torch.float64)
    return GaussianMixture(means, widths, weights)


def test_denoiser_is_the_conditional_mean():
    # Direct quadrature over x_0 on a grid.
    toy = mixture()
    grid = torch.linspace(-7, 7, 561, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    density = sum(
        weight / width**2 * torch.exp(-((points - mean) ** 2).sum(1) / (2 * width**2))
        for weight, width, mean in zip(toy.weights, toy.widths, toy.means, strict=True)
    )
    x = torch.tensor([[0.1, 0.2], [-1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    for sigma in (0.4, 1.3):
        likelihood = torch.exp(-((x[:, None] - points) ** 2).sum(-1) / (2 * sigma**2)) * density
        expected = likelihood @ points / likelihood.sum(1, keepdim=True)
        assert (toy.denoise(x, sigma) - expected).abs().max() < 1e-9
    single = toy.denoise(x, torch.tensor([0.4, 1.3, 0.4]))
    assert torch.allclose(single[1], toy.denoise(x, 1.3)[1])


def test_samples_have_the_moments():
    toy = mixture()
    count = 200_000
    samples = toy.sample(count, torch.Generator().manual_seed(0))
    mean = toy.weights @ toy.means
    second = toy.weights @ (toy.means**2 + toy.widths[:, None] ** 2)
    assert (samples.mean(0) - mean).abs().max() < 5 * 1.7 / count**0.5
    assert (samples.square().mean(0) - second).abs().max() < 5 * 3 / count**0.5


def test_denoiser_keeps_the_shape_of_molecules():
    means = torch.zeros(2, 4, 3)
    means[1] += 1.0
    toy = GaussianMixture(means, torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]))
    x = torch.full((3, 4, 3), 0.5)
    assert torch.allclose(toy.denoise(x, 1.0), x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: OrnsteinUhlenbeck(rate=0.0), "rate must be positive"),
        (lambda: GaussianMixture(torch.zeros(2, 3), torch.ones(1), torch.ones(2)), "one width"),
        (lambda: GaussianMixture(torch.zeros(2, 3), torch.zeros(2), torch.ones(2)), "positive"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
