"""Toy systems with exact answers."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.linalg import solve_continuous_lyapunov

from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.sde.double_well import DoubleWell
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck
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
        weight / width[0] ** 2 * torch.exp(-((points - mean) ** 2).sum(1) / (2 * width[0] ** 2))
        for weight, width, mean in zip(toy.weights, toy.widths, toy.means, strict=True)
    )
    x = torch.tensor([[0.1, 0.2], [-1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    for sigma in (0.4, 1.3):
        likelihood = torch.exp(-((x[:, None] - points) ** 2).sum(-1) / (2 * sigma**2)) * density
        expected = likelihood @ points / likelihood.sum(1, keepdim=True)
        assert (toy.denoise(x, sigma) - expected).abs().max() < 1e-9
    single = toy.denoise(x, torch.tensor([0.4, 1.3, 0.4]))
    assert torch.allclose(single[1], toy.denoise(x, 1.3)[1])


def turned_mixture():
    """Two ellipses, one of them turned by 40 degrees."""
    angle = torch.tensor([0.0, 0.7], dtype=torch.float64)
    cos, sin = torch.cos(angle), torch.sin(angle)
    axes = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], dim=1)
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    widths = torch.tensor([[0.2, 0.9], [0.6, 0.15]], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    return GaussianMixture(means, widths, weights, axes)


def test_denoiser_with_axes_is_the_conditional_mean():
    toy = turned_mixture()
    grid = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    density = 0.0
    for k in range(2):
        covariance = toy.axes[k].T @ torch.diag(toy.widths[k] ** 2) @ toy.axes[k]
        law = torch.distributions.MultivariateNormal(toy.means[k], covariance)
        density = density + toy.weights[k] * torch.exp(law.log_prob(points))
    x = torch.tensor([[0.1, 0.2], [-1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    for sigma in (0.3, 1.3):
        likelihood = torch.exp(-((x[:, None] - points) ** 2).sum(-1) / (2 * sigma**2)) * density
        expected = likelihood @ points / likelihood.sum(1, keepdim=True)
        assert (toy.denoise(x, sigma) - expected).abs().max() < 1e-9
    samples = toy.sample(200_000, torch.Generator().manual_seed(0))
    mean = toy.weights @ toy.means
    second = sum(
        weight * (axes.T @ torch.diag(width**2) @ axes + torch.outer(centre, centre))
        for weight, axes, width, centre in zip(
            toy.weights, toy.axes, toy.widths, toy.means, strict=True
        )
    )
    assert (samples.T.cov() - second + torch.outer(mean, mean)).abs().max() < 0.02


def test_samples_have_the_moments():
    toy = mixture()
    count = 200_000
    samples = toy.sample(count, torch.Generator().manual_seed(0))
    mean = toy.weights @ toy.means
    second = toy.weights @ (toy.means**2 + toy.widths**2)
    assert (samples.mean(0) - mean).abs().max() < 5 * 1.7 / count**0.5
    assert (samples.square().mean(0) - second).abs().max() < 5 * 3 / count**0.5


def test_denoiser_keeps_the_shape_of_molecules():
    means = torch.zeros(2, 4, 3)
    means[1] += 1.0
    toy = GaussianMixture(means, torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]))
    x = torch.full((3, 4, 3), 0.5)
    assert torch.allclose(toy.denoise(x, 1.0), x)


PULL = torch.tensor([[1.5, -0.7], [-0.2, 0.6]], dtype=torch.float64)
TURN = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
NOISE = torch.tensor([[0.8, 0.0, 0.3], [-0.4, 0.5, 0.0]], dtype=torch.float64)


def matrix_sde():
    return MatrixOrnsteinUhlenbeck(PULL, NOISE, torch.tensor([1.0, -2.0], dtype=torch.float64))


def test_matrix_ornstein_uhlenbeck_has_mean_and_covariance_of_its_step():
    sde, h, count = matrix_sde(), 0.8, 200_000
    generator = torch.Generator().manual_seed(0)
    increment = sample_increment(sde.basis(2), h, (count, 3), generator, torch.float64)
    x = torch.tensor([[0.3, 0.9]], dtype=torch.float64).expand(count, 2)
    y = sde.exact(0.0, h, x, increment)
    lift = torch.linalg.matrix_exp(-h * PULL)
    mean = sde.mean + lift @ (x[0] - sde.mean)
    # int exp(-K u) S S' exp(-K' u) du solves a Lyapunov equation.
    forcing = NOISE @ NOISE.T - lift @ NOISE @ NOISE.T @ lift.T
    covariance = torch.from_numpy(solve_continuous_lyapunov(PULL.numpy(), forcing.numpy()))
    widths = covariance.diagonal().sqrt()
    assert ((y.mean(0) - mean).abs() < 5 * widths / count**0.5).all()
    scale = widths[:, None] * widths
    assert ((y.T.cov() - covariance).abs() < 5 * 1.5 * scale / count**0.5).all()


def test_matrix_ornstein_uhlenbeck_map_composes():
    sde = matrix_sde()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    left, right = (
        sample_increment(sde.basis(3), h, (5, 3), generator, torch.float64) for h in (0.4, 1.5)
    )
    two = sde.exact(0.4, 1.9, sde.exact(0.0, 0.4, x, left), right)
    assert (sde.exact(0.0, 1.9, x, join(left, right)) - two).abs().max() < 1e-12


def test_matrix_ornstein_uhlenbeck_martingale_is_projected_and_its_variance_known():
    sde, h, order = matrix_sde(), 0.8, 3

    def entry(u, i, k):
        return float((torch.linalg.matrix_exp(-(h - u) * PULL) @ NOISE)[i, k])

    projected = sde.martingale_projection(0.0, h, order)
    assert projected.shape == (2, 3, order)
    for i, k in ((0, 0), (0, 1), (1, 2)):
        for n in range(order):
            legendre = np.polynomial.legendre.Legendre.basis(n)
            weighed = quad(lambda u, p=legendre, i=i, k=k: entry(u, i, k) * p(2 * u / h - 1), 0, h)
            assert float(projected[i, k, n]) == pytest.approx((2 * n + 1) / h * weighed[0])
    lift = torch.linalg.matrix_exp(-h * PULL)
    forcing = NOISE @ NOISE.T - lift @ NOISE @ NOISE.T @ lift.T
    covariance = solve_continuous_lyapunov(PULL.numpy(), forcing.numpy())
    variance = sde.martingale_variance(0.0, h).numpy()
    assert variance == pytest.approx(covariance.diagonal(), rel=1e-12)
    ends = torch.tensor([0.3, h], dtype=torch.float64)
    batched = sde.martingale_variance(torch.zeros_like(ends), ends)
    assert batched[1].numpy() == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize(("s", "t"), [(0.0, 0.01), (0.0, 1.0), (0.4, 0.7)])
def test_double_well_martingale_is_projected_and_its_rest_is_known(s, t):
    sde = DoubleWell()

    def kernel(u):
        return np.exp(t - u) * np.sqrt(0.1 + 19.9 * u)

    h = t - s
    for n, polynomial in enumerate((lambda x: 1.0, lambda x: x, lambda x: 1.5 * x**2 - 0.5)):
        c = float(sde.martingale_projection(s, t, 3)[n])
        weighed = quad(lambda u, p=polynomial: kernel(u) * p(2 * (u - s) / h - 1), s, t)[0]
        assert c == pytest.approx((2 * n + 1) / h * weighed, rel=1e-5, abs=1e-9)
    variance = quad(lambda u: kernel(u) ** 2, s, t)[0]
    assert float(sde.martingale_variance(s, t)) == pytest.approx(variance, rel=1e-8)
    time, x = torch.tensor(t).double(), torch.tensor([0.7], dtype=torch.float64)
    drift = sde.drift(time, x, sde.nonlinear(time, x))
    assert float(drift) == pytest.approx(0.7 - 0.7**3, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: OrnsteinUhlenbeck(rate=0.0), "rate must be positive"),
        (lambda: DoubleWell(beta_end=-1.0), "not negative"),
        (lambda: MatrixOrnsteinUhlenbeck(PULL, NOISE, torch.zeros(3)), "shape"),
        (lambda: MatrixOrnsteinUhlenbeck(torch.eye(2), NOISE, torch.zeros(2)), "distinct"),
        (lambda: MatrixOrnsteinUhlenbeck(TURN, NOISE, torch.zeros(2)), "real and positive"),
        (lambda: GaussianMixture(torch.zeros(2, 3), torch.ones(1), torch.ones(2)), "one width"),
        (lambda: GaussianMixture(torch.zeros(2, 3), torch.zeros(2), torch.ones(2)), "positive"),
        (
            lambda: GaussianMixture(
                torch.zeros(1, 2), torch.ones(1), torch.ones(1), 2 * torch.eye(2)[None]
            ),
            "orthonormal rows",
        ),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
