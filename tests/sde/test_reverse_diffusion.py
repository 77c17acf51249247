"""The reversed diffusion: lift, martingale, and what coefficients can carry."""

import math

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.sde.reverse_diffusion import ReverseDiffusion


def legendre(n, theta):
    return np.polynomial.legendre.Legendre.basis(n)(2 * theta - 1)


def test_clock_runs_from_the_largest_to_the_smallest_width():
    sde = ReverseDiffusion(8.0, 0.01)
    assert float(sde.sigma(0.0)) == 8.0
    assert float(sde.sigma(sde.duration)) == pytest.approx(0.01)
    assert float(sde.time(sde.sigma(1.7))) == pytest.approx(1.7)


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5])
def test_martingale_has_the_stated_variance(eta):
    sde = ReverseDiffusion(eta=eta)
    s, t = torch.tensor(2.0).double(), torch.tensor(3.1).double()
    factor = sde.basis(3).cholesky(t - s)[-1]
    variance = 2 * eta**2 * sde.sigma(t) ** 2 * factor.square().sum()
    ratio = sde.sigma(t) / sde.sigma(s)
    assert float(variance) == pytest.approx(float(sde.sigma(t) ** 2 * (1 - ratio ** (2 * eta**2))))
    increment = sample_increment(
        sde.basis(3), t - s, (200_000, 1, 1), torch.Generator().manual_seed(0), torch.float64
    )
    sampled = float(sde.martingale(s, t, increment).var())
    assert sampled == pytest.approx(float(variance), rel=5 * math.sqrt(2 / 200_000))


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_martingale_is_the_integral_of_its_kernel(eta):
    # Cov(M, I^n) and Var M by quadrature of Phi(u, t) g(u), against features' covariance.
    sde = ReverseDiffusion(eta=eta)
    s, t = torch.tensor(1.2).double(), torch.tensor(4.0).double()
    h = float(t - s)
    node, weight = np.polynomial.legendre.leggauss(80)
    theta = (node + 1) / 2
    u = torch.tensor(float(s) + h * theta)
    kernel = (sde.lift(u, t) * sde.rates(u)[2]).numpy()
    factor = sde.basis(4).cholesky(t - s).numpy()
    scale = math.sqrt(2) * eta * float(sde.sigma(t))
    assert scale**2 * (factor[-1] @ factor[-1]) == pytest.approx(
        h * (weight / 2 * kernel**2).sum(), rel=1e-12
    )
    projected = sde.martingale_projection(s, t, 4).numpy()
    for n in range(4):
        expected = (2 * n + 1) * (weight / 2 * kernel * legendre(n, theta)).sum()
        assert projected[n] == pytest.approx(expected, rel=1e-11)
        assert scale * (factor @ factor[-1])[n] == pytest.approx(
            h * expected / (2 * n + 1), rel=1e-11
        )


def test_step_is_the_published_form():
    # X_t = Phi x + (1 - Phi) D + M with Phi = (sigma_t / sigma_s)^(1 + eta^2), alpha = 1.
    sde = ReverseDiffusion(eta=0.7)
    generator = torch.Generator().manual_seed(0)
    s, t = torch.tensor([0.0, 2.0]).double(), torch.tensor([1.0, 5.0]).double()
    increment = sample_increment(sde.basis(2), t - s, (2, 4, 3), generator, torch.float64)
    x, d = torch.randn(2, 2, 4, 3, generator=generator, dtype=torch.float64)
    lift = ((sde.sigma(t) / sde.sigma(s)) ** 1.49)[:, None, None]
    noise = math.sqrt(2) * 0.7 * sde.sigma(t)[:, None, None] * increment.exponentials[..., 0]
    expected = lift * x + (1 - lift) * d + noise
    assert (sde.apply(s, t, x, d, increment) - expected).abs().max() < 1e-13
    assert (sde.drift(t, x, d) - 1.49 * (d - x)).abs().max() < 1e-13


def test_no_noise_at_eta_zero():
    sde = ReverseDiffusion(eta=0.0)
    assert sde.basis(3) == Basis(3)
    s, t = torch.tensor(1.0), torch.tensor(2.0)
    increment = sample_increment(sde.basis(3), 1.0, (2, 4, 3), torch.Generator())
    x, d = torch.ones(2, 4, 3), torch.zeros(2, 4, 3)
    assert torch.allclose(sde.apply(s, t, x, d, increment), sde.sigma(t) / sde.sigma(s) * x)


@pytest.mark.parametrize(
    ("width", "steps", "order", "share"),
    [
        (0.03, 1, 3, 0.80),
        (0.03, 1, 6, 0.98),
        (0.03, 2, 3, 0.98),
        (0.03, 4, 3, 1.00),
        (0.01, 1, 3, 0.86),
        (0.01, 1, 6, 0.99),
        (0.01, 2, 3, 0.98),
        (0.01, 8, 3, 1.00),
    ],
)
def test_share_of_thermal_variance_that_coefficients_carry(width, steps, order, share):
    # Data N(0, width^2): the equation is linear, X_T = Psi x + int psi dW in closed form.
    sde = ReverseDiffusion()
    node, weight = np.polynomial.legendre.leggauss(400)
    h = sde.duration / steps
    total = seen = 0.0
    for k in range(steps):
        sigma = sde.sigma_max * np.exp(-h * (k + (node + 1) / 2))
        psi = (width**2 + sde.sigma_min**2) / (width**2 + sigma**2) * math.sqrt(2) * sigma
        total += h * (weight / 2 * psi**2).sum()
        for n in range(order):
            c = (weight / 2 * psi * legendre(n, (node + 1) / 2)).sum()
            seen += h * (2 * n + 1) * c**2
    assert total == pytest.approx(width**2 + sde.sigma_min**2, rel=1e-4)
    assert seen / total == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ReverseDiffusion(1.0, 2.0), "sigma_max > sigma_min"),
        (lambda: ReverseDiffusion(eta=-1.0), "eta is -1"),
        (
            lambda: ReverseDiffusion().martingale(
                torch.tensor(0.0),
                torch.tensor(1.0),
                sample_increment(Basis(3), 1.0, (2, 3), torch.Generator()),
            ),
            "exponential feature of rate 1",
        ),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
