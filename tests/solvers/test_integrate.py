"""Strong order and laws of the schemes on shared paths."""

from functools import cache, partial

import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.sde.double_well import DoubleWell
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.exponential_euler import exponential_euler_step
from molflow.solvers.exponential_heun import exponential_heun_step
from molflow.solvers.loop import integrate, trajectory, uniform_times
from molflow.solvers.strong_order_1_5 import strong_order_1_5_step
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


@pytest.mark.parametrize(
    ("scheme", "order"), [(exponential_euler_step, 1), (exponential_heun_step, 2)]
)
def test_orders_without_noise(scheme, order):
    # The probability flow of Gaussian data N(0, w^2) scales x with sqrt(w^2 + sigma^2).
    sde, width = ReverseDiffusion(5.0, 0.05, eta=0.0), 0.5
    path = BrownianPath(sde.basis(1), 0.0, sde.duration, (50, 3), 1, depth=8, dtype=torch.float64)
    x = torch.linspace(-5.0, 5.0, 150, dtype=torch.float64).reshape(50, 3)
    exact = x * ((width**2 + sde.sigma_min**2) / (width**2 + sde.sigma_max**2)) ** 0.5
    step = partial(scheme, sde, gaussian_denoiser(width))
    assert_strong_order(step, x, path, (32, 64, 128), exact, expected=order)


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


def on_a_path(sde, basis, shape, x, depth=12, end=1.0, seed=7):
    """Return a path over [0, end] and the state by the scheme of order 1.5 on its finest grid."""
    path = BrownianPath(basis, 0.0, end, shape, seed, depth=depth, dtype=torch.float64)
    fine = partial(strong_order_1_5_step, sde, sde.nonlinear)
    return path, integrate(fine, x, path, uniform_times(path, 2**depth))


@cache
def double_well():
    """The double well with noise that depends on time."""
    sde = DoubleWell(beta_start=0.1, beta_end=2.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1, generator=generator, dtype=torch.float64)
    return sde, x, *on_a_path(sde, Basis(2), (300, 1), x)


@pytest.mark.parametrize(
    ("scheme", "steps", "order"),
    [
        (euler_maruyama_step, (128, 256, 512), 1.0),
        (exponential_euler_step, (128, 256, 512), 1.0),
        (exponential_heun_step, (128, 256, 512), 1.0),
        (strong_order_1_5_step, (64, 128, 256), 1.5),
    ],
)
def test_strong_order_with_growing_noise(scheme, steps, order):
    sde, x, path, reference = double_well()
    assert_strong_order(partial(scheme, sde, sde.nonlinear), x, path, steps, reference, order)


def test_two_schemes_agree_on_the_limit_with_growing_noise():
    sde, x, path, reference = double_well()
    other = partial(euler_maruyama_step, sde, sde.nonlinear)
    limit = integrate(other, x, path, uniform_times(path, 4096))
    # An error of order 1 that is 1.7e-3 on 512 steps.
    assert float((limit - reference).square().mean().sqrt()) < 4e-4


def test_strong_order_where_the_answer_is_exact():
    pull = torch.tensor([[1.5, -0.7], [-0.2, 0.6]], dtype=torch.float64)
    noise = torch.tensor([[0.8, 0.0, 0.3], [-0.4, 0.5, 0.0]], dtype=torch.float64)
    sde = MatrixOrnsteinUhlenbeck(pull, noise, torch.tensor([1.0, -2.0], dtype=torch.float64))
    path = BrownianPath(sde.basis(2), 0.0, 1.0, (400, 3), 1, depth=8, dtype=torch.float64)
    x = torch.zeros(400, 2, dtype=torch.float64)
    exact = sde.exact(0.0, 1.0, x, path.increment(0.0, 1.0))
    # What limits the scheme to 1.5 is the curvature of the drift; a linear one has none.
    for scheme, order in ((strong_order_1_5_step, 2.0), (euler_maruyama_step, 1.0)):
        step = partial(scheme, sde, sde.nonlinear)
        assert_strong_order(step, x, path, (16, 32, 64), exact, order)


def anharmonic(x):
    """Force of a bond to the origin that stiffens as it is stretched."""
    return -40.0 * x - 60.0 * x**3


@cache
def bonds():
    """Two atoms, each on its bond, in one dimension."""
    masses = torch.tensor([1.0, 3.0], dtype=torch.float64)
    sde = UnderdampedLangevin(anharmonic, masses, friction=2.0, temperature=300.0)
    generator = torch.Generator().manual_seed(0)
    x = 0.2 * torch.randn(200, 2, 2, 1, generator=generator, dtype=torch.float64)
    return sde, x, *on_a_path(sde, sde.basis(2), (200, 2, 1), x, depth=11)


@pytest.mark.parametrize(
    ("scheme", "order"),
    # The drift is curved in the positions alone, which the noise reaches through the velocities:
    # the scheme of order 1.5 gains half an order.
    [
        (baoab_step, 1.0),
        (euler_maruyama_step, 1.0),
        (exponential_euler_step, 1.0),
        (strong_order_1_5_step, 2.0),
    ],
)
def test_strong_order_of_langevin_dynamics(scheme, order):
    sde, x, path, reference = bonds()
    step = partial(scheme, sde, sde.nonlinear) if scheme != baoab_step else partial(scheme, sde)
    assert_strong_order(step, x, path, (64, 128, 256), reference, order)


def test_two_schemes_agree_on_the_limit_of_langevin_dynamics():
    sde, x, path, reference = bonds()
    limit = integrate(partial(baoab_step, sde), x, path, uniform_times(path, 2048))
    # An error of order 1 that is 5.8e-3 on 256 steps.
    assert float((limit - reference).square().mean().sqrt()) < 1.2e-3


def test_order_1_5_needs_two_coefficients():
    sde = DoubleWell()
    path = BrownianPath(Basis(1), 0.0, 1.0, (2, 1), 0, dtype=torch.float64)
    with pytest.raises(MolflowError, match="order of 2 at least"):
        integrate(
            partial(strong_order_1_5_step, sde, sde.nonlinear),
            torch.zeros(2, 1, dtype=torch.float64), path, [0.0, 1.0],
        )  # fmt: skip


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
