"""Langevin dynamics: exact forms, laws, and the surface of Müller and Brown."""

import math

import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.sde.mueller_brown import MuellerBrown
from molflow.sde.overdamped import OverdampedLangevin
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.units import GAS_CONSTANT

DOUBLE = {"dtype": torch.float64}
MASSES = torch.tensor([1.0, 12.0], **DOUBLE)
FRICTION, TEMPERATURE = 3.0, 300.0


def constant_force(x):
    return torch.tensor([[2.0, 0.0, -1.0], [0.5, 4.0, 0.0]], **DOUBLE).expand_as(x)


def underdamped(force=constant_force):
    return UnderdampedLangevin(force, MASSES, FRICTION, TEMPERATURE)


def state(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, 2, 3, generator=generator, **DOUBLE), generator


@pytest.mark.parametrize("h", [1e-4, 0.03, 2.0])
def test_underdamped_lift_and_gain_are_matrix_exponentials(h):
    sde = underdamped()
    a = torch.tensor([[0.0, 1.0], [0.0, -FRICTION]], **DOUBLE)
    exact = torch.from_numpy(expm(a.numpy() * h))
    assert (sde.lift(0.0, h) - exact).abs().max() < 1e-14
    # The response to a constant force: the last column of the exponential of a bordered matrix.
    bordered = torch.zeros(3, 3, **DOUBLE)
    bordered[:2, :2], bordered[1, 2] = a, 1.0
    response = torch.from_numpy(expm(bordered.numpy() * h))[:2, 2]
    assert torch.allclose(sde.gain(0.0, h).diagonal(), response, rtol=1e-12, atol=0)


def test_a_constant_force_makes_the_map_exact_and_a_semigroup():
    sde = underdamped()
    x, generator = state(5)
    left, right = (
        sample_increment(sde.basis(2), h, (5, 2, 3), generator, torch.float64) for h in (0.2, 0.9)
    )

    def step(s, t, x, increment):
        return sde.apply(s, t, x, sde.nonlinear(s, x), increment)

    two = step(0.2, 1.1, step(0.0, 0.2, x, left), right)
    assert (two - step(0.0, 1.1, x, join(left, right))).abs().max() < 1e-12


@pytest.mark.parametrize("h", [1e-3, 0.4])
def test_noise_of_a_step_has_the_known_covariance(h):
    """Var E1 = (1 - q^2)/(2 g), and those of E2 = (W - E1)/g from the integrals of its kernel."""
    sde, count = underdamped(), 100_000
    generator = torch.Generator().manual_seed(1)
    increment = sample_increment(sde.basis(2), h, (count, 2, 3), generator, torch.float64)
    noise = sde.martingale(0.0, h, increment) / sde.sigma
    g = FRICTION
    one, both = -math.expm1(-g * h) / g, -math.expm1(-2 * g * h) / (2 * g)
    expected = {
        (1, 1): both,
        (0, 1): (one - both) / g,
        (0, 0): (h - 2 * one + both) / g**2,
    }
    for (i, j), value in expected.items():
        found = float((noise[:, i] * noise[:, j]).mean())
        scale = math.sqrt(expected[i, i] * expected[j, j])
        assert found == pytest.approx(value, abs=5 * 1.5 * scale / math.sqrt(6 * count))


@pytest.mark.parametrize("h", [1e-3, 0.4, 3.0])
def test_projected_noise_is_what_the_coefficients_say(h):
    """Regression of sigma (E2, E1) on I^n, from their joint Gaussian law in the basis."""
    sde, order, g = underdamped(), 3, FRICTION
    factor = sde.basis(order).cholesky(torch.tensor(h, **DOUBLE))
    covariance = factor @ factor.T
    seen = covariance[order, :order] / covariance.diagonal()[:order]
    first = torch.eye(order, **DOUBLE)[0]
    expected = sde.sigma[..., None] * torch.stack([(first - seen) / g, seen])[:, None, None]
    found = sde.martingale_projection(0.0, h, order)
    assert found.shape == (2, 2, 1, order)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12 * float(sde.sigma.max()))

    one, both = -math.expm1(-g * h) / g, -math.expm1(-2 * g * h) / (2 * g)
    travelled = (h - 2 * one + both) / g**2
    squares = torch.tensor([travelled, both], **DOUBLE)[:, None, None]
    variance = sde.martingale_variance(0.0, h)
    # The closed form of the first cancels on short steps.
    assert torch.allclose(variance, sde.sigma**2 * squares, rtol=1e-6)


def test_projection_at_batched_times_has_the_axes_of_the_atoms():
    s, t = torch.zeros(3, **DOUBLE), torch.tensor([0.1, 0.7, 2.0], **DOUBLE)
    under, over = (
        kind(constant_force, MASSES, FRICTION, TEMPERATURE)
        for kind in (UnderdampedLangevin, OverdampedLangevin)
    )
    for sde, axes in ((under, (2, 2, 1)), (over, (2, 1))):
        both = sde.martingale_projection(s, t, 4), sde.martingale_variance(s, t)
        assert both[0].shape == (3, *axes, 4) and both[1].shape == (3, *axes)
        for one, several in zip(
            (sde.martingale_projection(0.0, 0.7, 4), sde.martingale_variance(0.0, 0.7)),
            both,
            strict=True,
        ):
            assert torch.allclose(several[1], one, rtol=1e-12, atol=1e-12)
    # The martingale of the overdamped equation is g I^0 and nothing else.
    first = torch.eye(4, **DOUBLE)[0]
    assert (
        over.martingale_projection(s, t, 4) - over.diffusion[..., None] * first
    ).abs().max() < 1e-12
    assert torch.allclose(
        over.martingale_variance(s, t), over.diffusion**2 * t[:, None, None], rtol=1e-12
    )


def test_free_particles_keep_the_maxwell_distribution():
    sde, count = underdamped(torch.zeros_like), 20_000
    generator = torch.Generator().manual_seed(2)
    widths = torch.sqrt(GAS_CONSTANT * TEMPERATURE / MASSES)[:, None]
    x = widths * torch.randn(count, 2, 2, 3, generator=generator, **DOUBLE)
    increment = sample_increment(sde.basis(2), 0.3, (count, 2, 3), generator, torch.float64)
    y = sde.apply(0.0, 0.3, x, torch.zeros_like(x), increment)
    ratio = y[:, 1].var(dim=(0, 2)) / widths[:, 0] ** 2
    assert (ratio - 1.0).abs().max() < 5 * math.sqrt(2 / (3 * count))


def test_overdamped_noise_and_mobility_are_per_atom():
    sde = OverdampedLangevin(constant_force, MASSES, FRICTION, TEMPERATURE)
    generator = torch.Generator().manual_seed(3)
    s, t = torch.zeros(4, **DOUBLE), torch.full((4,), 0.02, **DOUBLE)
    x = torch.randn(4, 2, 3, generator=generator, **DOUBLE)
    increment = sample_increment(Basis(2), t - s, (4, 2, 3), generator, torch.float64)
    found = sde.apply(s, t, x, sde.nonlinear(s, x), increment)
    for atom, mass in enumerate(MASSES.tolist()):
        drift = constant_force(x)[:, atom] / (mass * FRICTION) * 0.02
        noise = math.sqrt(2 * GAS_CONSTANT * TEMPERATURE / (mass * FRICTION))
        expected = x[:, atom] + drift + noise * increment.increment[:, atom]
        assert (found[:, atom] - expected).abs().max() < 1e-12


def test_mueller_brown_has_its_published_stationary_points():
    surface = MuellerBrown(scale=1.0)
    minima = torch.tensor([[-0.558, 1.442], [0.623, 0.028], [-0.050, 0.467]], **DOUBLE)[:, None]
    energies = surface.energy(minima)
    assert energies.tolist() == pytest.approx([-146.70, -108.17, -80.77], abs=0.01)
    saddles = torch.tensor([[-0.822, 0.624], [0.212, 0.293]], **DOUBLE)[:, None]
    assert surface.energy(saddles).tolist() == pytest.approx([-40.66, -72.25], abs=0.01)
    slopes = surface.force(torch.cat([minima, saddles])).abs().max()
    assert float(slopes) < 1.0  # of several thousand between them
    step = 1e-6 * torch.tensor([[[1.0, 0.0]]], **DOUBLE)
    numerical = -(surface.energy(minima + step) - surface.energy(minima - step)) / 2e-6
    assert (surface.force(minima)[:, 0, 0] - numerical).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.tensor([1.0, -1.0]), 1.0, 300.0), "masses must be positive"),
        ((torch.ones(2), 0.0, 300.0), "friction is 0.0"),
        ((torch.ones(2), 1.0, -5.0), "temperature is -5.0"),
    ],
)
@pytest.mark.parametrize("equation", [OverdampedLangevin, UnderdampedLangevin])
def test_errors_say_what_to_do(equation, arguments, words):
    with pytest.raises(MolflowError, match=words):
        equation(constant_force, *arguments)


def test_underdamped_needs_the_feature_of_its_friction():
    sde = underdamped()
    x, generator = state(2)
    increment = sample_increment(Basis(2), 0.1, (2, 2, 3), generator, torch.float64)
    with pytest.raises(MolflowError, match="exponential feature of rate 3"):
        sde.martingale(0.0, 0.1, increment)


def test_a_force_that_turns_heats_with_the_inverse_square_of_friction():
    """F = −m ω² x + m κ J x in the plane: the temperature is T/(1 − κ²/(γω)²)."""
    omega, curl, h = 5.0, 7.5, 0.02
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], **DOUBLE)
    matrix = curl * turn - omega**2 * torch.eye(2, **DOUBLE)
    sde = UnderdampedLangevin(lambda x: x @ matrix.T, torch.ones(1, **DOUBLE), FRICTION, 300.0)
    # Of the covariance Σ of (x, v), which solves A Σ + Σ Aᵀ + σ² = 0.
    drift = torch.zeros(4, 4, **DOUBLE)
    drift[:2, 2:], drift[2:, :2] = torch.eye(2), matrix
    drift[2:, 2:] = -FRICTION * torch.eye(2)
    noise = torch.diag(torch.tensor([0.0, 0.0, 1.0, 1.0], **DOUBLE)) * sde.sigma.item() ** 2
    covariance = torch.from_numpy(solve_continuous_lyapunov(drift.numpy(), -noise.numpy()))
    factor = 1.0 / (1.0 - (curl / (FRICTION * omega)) ** 2)
    thermal = GAS_CONSTANT * 300.0
    assert covariance[2, 2].item() == pytest.approx(factor * thermal, rel=1e-10)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 2, 1, 2, generator=generator, **DOUBLE)
    s, t, found = torch.tensor(0.0, **DOUBLE), torch.tensor(h, **DOUBLE), []
    for step in range(500):
        increment = sample_increment(sde.basis(1), h, (4096, 1, 2), generator, torch.float64)
        x = baoab_step(sde, s, t, x, increment)
        if step >= 200:
            found.append(x[:, 1].square().mean().item())
    assert sum(found) / len(found) == pytest.approx(factor * thermal, rel=0.03)
