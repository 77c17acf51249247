"""Strong order and laws of the schemes on shared paths."""

from functools import partial

import pytest
import torch

from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.exponential_euler import exponential_euler_step
from molflow.solvers.loop import integrate, trajectory, uniform_times
from molflow.testing import assert_semigroup, assert_strong_order

SDE = ReverseDiffusion(sigma_max=5.0, sigma_min=0.05)


def gaussian_denoiser(width):
    """E[x_0 | x] for data N(0, width^2)."""
    return lambda t, x: x * width**2 / (width**2 + SDE.sigma(t) ** 2)


def path_and_start(batch, width, seed=0):
    path = BrownianPath(
        SDE.basis(2), 0.0, SDE.duration, (batch, 2, 3), seed, depth=11, dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 2, 3, generator=generator, dtype=torch.float64)
    return path, (width**2 + SDE.sigma_max**2) ** 0.5 * noise


@pytest.mark.parametrize("scheme", [exponential_euler_step, euler_maruyama_step])
def test_strong_order_on_a_gaussian(scheme):
    path, x = path_and_start(200, 0.5)
    step = partial(scheme, SDE, gaussian_denoiser(0.5))
    fine = partial(exponential_euler_step, SDE, gaussian_denoiser(0.5))
    reference = integrate(fine, x, path, uniform_times(path, 2048))
    assert_strong_order(step, x, path, (32, 64, 128), reference, expected=1.0)


def test_law_on_a_gaussian():
    path, x = path_and_start(4000, 0.5)
    step = partial(exponential_euler_step, SDE, gaussian_denoiser(0.5))
    y = integrate(step, x, path, uniform_times(path, 256))
    # Data plus the last noise; the grid of 256 steps leaves a bias of about 1 per cent.
    assert float(y.std()) == pytest.approx((0.25 + SDE.sigma_min**2) ** 0.5, rel=0.025)


def test_mixture_gets_its_weights():
    means = torch.tensor([[[-1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]], dtype=torch.float64)
    widths, weights = torch.tensor([[0.2, 0.2], [1.0, 3.0]], dtype=torch.float64)
    toy = GaussianMixture(means, widths, weights)
    path = BrownianPath(
        SDE.basis(1), 0.0, SDE.duration, (4000, 1, 3), 3, depth=6, dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(4000, 1, 3, generator=generator, dtype=torch.float64)
    step = partial(exponential_euler_step, SDE, lambda t, x: toy.denoise(x, SDE.sigma(t)))
    x = toy.sample(4000, generator) + SDE.sigma_max * noise
    y = integrate(step, x, path, uniform_times(path, 64))
    right = float((y[:, 0, 0] > 0).double().mean())
    assert right == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)


def test_exponential_euler_is_exact_where_the_pull_is_constant():
    sde = OrnsteinUhlenbeck(rate=1.3, diffusion=0.7, mean=0.4)
    path = BrownianPath(sde.basis(3), 0.0, 4.0, (20, 3), 5, depth=10, dtype=torch.float64)
    step = partial(exponential_euler_step, sde, lambda t, x: torch.full_like(x, sde.mean))
    x = torch.zeros(20, 3, dtype=torch.float64)
    assert_semigroup(step, x, path, 0.0, 1.25, 4.0, tolerance=1e-12)
    coarse = partial(euler_maruyama_step, sde, lambda t, x: torch.full_like(x, sde.mean))
    with pytest.raises(AssertionError, match="differs from two"):
        assert_semigroup(coarse, x, path, 0.0, 1.25, 4.0)
    exact = integrate(step, x, path, [0.0, 4.0])
    assert_strong_order(coarse, x, path, (64, 128, 256), exact, expected=1.0)


def test_wrong_order_is_noticed():
    path, x = path_and_start(50, 0.5)
    step = partial(exponential_euler_step, SDE, gaussian_denoiser(0.5))
    reference = integrate(step, x, path, uniform_times(path, 512))
    with pytest.raises(AssertionError, match="The strong order is"):
        assert_strong_order(step, x, path, (16, 32, 64), reference, expected=2.0)


def test_trajectory_ends_where_integrate_does():
    path, x = path_and_start(3, 0.5)
    step = partial(exponential_euler_step, SDE, gaussian_denoiser(0.5))
    states = list(trajectory(step, x, path, uniform_times(path, 5)))
    assert len(states) == 5
    assert torch.equal(states[-1], integrate(step, x, path, uniform_times(path, 5)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: uniform_times(path, 0), "steps is 0"),
        (lambda path: integrate(None, torch.zeros(2, 3), path, [0.0]), "two ends"),
    ],
)
def test_errors_say_what_to_do(call, words):
    path = BrownianPath(SDE.basis(1), 0.0, 1.0, (2, 3), 0)
    with pytest.raises(MolflowError, match=words):
        call(path)
