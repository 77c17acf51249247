"""Two steps in one where lift and gain are matrices, and the short steps it begins with."""

import math

import pytest
import torch
from langevin_maps import random_dynamics, thermal_state
from linear_langevin import MASSES, STIFFNESS, LinearLangevin
from scipy.linalg import expm

from molflow.brownian.chen import join, join_equal_matrix
from molflow.brownian.derivatives import path_rate_at_start, whitened_by_start
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.mean_path import mean_path
from molflow.errors import MolflowError
from molflow.maps.langevin.mean_point import MeanPointMap
from molflow.maps.overdamped.mean_point import OverdampedMeanPointMap
from molflow.objectives.along_path import mean_by_start
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import direct_residual, matching_residual
from molflow.objectives.semigroup import composed_mean, semigroup_residual
from molflow.sde.base import act
from molflow.sde.matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck
from molflow.sde.underdamped import UnderdampedLangevin

S = torch.tensor([0.0, 0.0, 0.3], dtype=torch.float64)
U = torch.tensor([0.4, 0.1, 0.7], dtype=torch.float64)
T = torch.tensor([0.6, 0.9, 1.1], dtype=torch.float64)


def steps(flow_map, atoms=2, scale=1.0, seed=0):
    """Return s, u, t, states and the increments of both parts."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2, atoms, 3, generator=generator, dtype=torch.float64)
    s, u, t = scale * S, scale * U, scale * T
    parts = [
        sample_increment(flow_map.basis, h, (3, atoms, 3), generator, torch.float64)
        for h in (u - s, t - u)
    ]
    return s, u, t, x, *parts


def test_the_exact_map_of_a_spring_solves_its_equation():
    """Independently: the lift is a matrix exponential, and short steps add up to long ones."""
    exact = LinearLangevin()
    s, u, t, x, left, right = steps(exact)
    quiet = sample_increment(exact.basis, t - s, (3, 2, 3), torch.Generator(), torch.float64)
    quiet = type(quiet)(quiet.basis, quiet.h, torch.zeros_like(quiet.features))
    for k in range(3):
        a = torch.tensor([[0.0, 1.0], [-STIFFNESS, -exact.sde.friction]], dtype=torch.float64)
        whole = torch.from_numpy(expm(a.numpy() * float(T[k] - S[k])))
        expected = torch.einsum("ij,jax->iax", whole, x[k])
        assert (exact.end(s, t, x, quiet)[k] - expected).abs().max() < 1e-13
    twice = exact.end(u, t, exact.end(s, u, x, left), right)
    assert (twice - exact.end(s, t, x, join(left, right))).abs().max() < 1e-11


def test_residual_vanishes_at_the_exact_map_and_nowhere_else():
    exact, wrong = LinearLangevin(), LinearLangevin(error=0.01)
    assert float(semigroup_residual(exact, exact, *steps(exact)).max()) < 1e-20
    assert float(semigroup_residual(wrong, exact, *steps(exact)).min()) > 1e-6
    assert float(semigroup_residual(wrong, wrong, *steps(exact)).min()) > 1e-9


def test_composed_mean_is_two_steps_applied():
    flow_map = random_dynamics("langevin")
    s, u, t, x, left, right = steps(flow_map, 5, 0.03)
    mean = composed_mean(flow_map, flow_map, s, u, t, x, left, right)
    in_one = flow_map.sde.apply(s, t, x, mean, join(left, right))
    in_two = flow_map(u, t, flow_map(s, u, x, left), right)
    assert (in_one - in_two).abs().max() < 1e-12
    swapped = composed_mean(flow_map, flow_map, s, u, t, x, right, left)
    assert (swapped - mean).abs().max() > 1e-3


@pytest.mark.parametrize("friction", [0.1, 50.0])
def test_the_weights_of_langevin_dynamics_are_positive_and_add_up(friction):
    sde = UnderdampedLangevin(lambda x: x, MASSES, friction, 300.0)
    for s, u, t in ((0.0, 1e-6, 3e-6), (0.0, 0.01, 0.02), (0.0, 1.0, 1.1)):
        whole = torch.linalg.inv(sde.gain(s, t))
        weights = torch.cat([whole @ sde.lift(u, t) @ sde.gain(s, u), whole @ sde.gain(u, t)], -1)
        assert float(weights.min()) >= 0.0
        assert weights.sum(-1).tolist() == pytest.approx([1.0, 1.0], abs=1e-9)


def test_matrices_that_are_not_diagonal_compose_too():
    sde = MatrixOrnsteinUhlenbeck(
        torch.tensor([[2.0, -0.7], [0.3, 0.8]]), torch.eye(2), torch.tensor([1.0, -2.0])
    )

    class Exact(torch.nn.Module):
        basis = sde.basis(2)

        def __init__(self):
            super().__init__()
            self.sde = sde

        def mean(self, s, t, x, whitened):
            return sde.mean.expand_as(x)

    flow_map = Exact()
    x = torch.ones(3, 2).double()
    generator = torch.Generator().manual_seed(0)
    parts = [
        sample_increment(flow_map.basis, h, (3, 2), generator, torch.float64)
        for h in (U - S, T - U)
    ]
    mean = composed_mean(flow_map, flow_map, S, U, T, x, *parts)
    assert (mean - sde.mean).abs().max() < 1e-12


def test_matching_at_a_step_of_no_length_is_force_matching():
    flow_map = random_dynamics("langevin")
    x, generator = thermal_state("langevin", 3)
    force = 100.0 * torch.randn(3, 5, 3, generator=generator, dtype=torch.float64)
    masses = flow_map.sde.masses
    now = torch.zeros(3).double()
    sample = (force / masses)[:, None].expand(3, 2, 5, 3)
    found = matching_residual(flow_map, now, x, sample)
    error = (flow_map.force(x[:, 0]) - force) / masses
    assert torch.allclose(found, error.square().mean(dim=(1, 2)), rtol=1e-9)
    # ... of which velocities are no part
    x[:, 1] += 3.0
    assert torch.equal(matching_residual(flow_map, now, x, sample), found)


def test_objectives_that_divide_by_a_gain_still_refuse_matrices():
    exact = LinearLangevin()
    s, u, _, x, left, _ = steps(exact)
    with pytest.raises(MolflowError, match="are matrices, but this objective divides by the gain"):
        lagrangian_residual(exact, exact.sde.nonlinear, s, u, x, left)


def test_a_known_end_teaches_the_map():
    exact, wrong = LinearLangevin(), LinearLangevin(error=0.01)
    s, u, _, x, left, _ = steps(exact)
    end = exact.end(s, u, x, left)
    assert float(direct_residual(exact, s, u, x, left, end).max()) < 1e-20
    found = direct_residual(wrong, s, u, x, left, end)
    assert torch.allclose(found, (0.01 * x).square().mean(dim=(1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_blocks_of_a_path_teach_the_map(count):
    """A spring walked block by block; the noise of all blocks is joined at once."""
    exact, wrong = LinearLangevin(order=3), LinearLangevin(order=3, error=0.01)
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(3, 2, 2, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(
        3, 2, 3, count, exact.basis.size, generator=generator, dtype=torch.float64
    )
    block, end = torch.tensor(0.07, dtype=torch.float64), x
    for k in range(count):
        part = Increment.from_whitened(exact.basis, block, noise[..., k, :])
        end = exact.end(0.0 * block, block, end, part)
    matrix = join_equal_matrix(exact.basis, block, count)
    h = (count * block).expand(3)
    whole = Increment.from_whitened(exact.basis, h, noise.flatten(-2) @ matrix.mT)
    assert float(direct_residual(exact, 0 * h, h, x, whole, end).max()) < 1e-10
    found = direct_residual(wrong, 0 * h, h, x, whole, end)
    assert torch.allclose(found, (0.01 * x).square().mean(dim=(1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("objective", [eulerian_residual, mean_flow_residual])
def test_where_a_step_begins_does_not_matter(objective):
    """On the mean path the exact map satisfies the equation, with matrices too."""
    exact, wrong = LinearLangevin(), LinearLangevin(error=0.01)
    s, _, t, x, left, right = steps(exact)
    whole = join(left, right)
    n = exact.sde.nonlinear(s, x)
    assert float(objective(exact, s, t, x, n, whole).max()) < 1e-16
    assert float(objective(wrong, s, t, x, n, whole).min()) > 1e-8
    assert float(objective(exact, s, t, x, 1.1 * n, whole).min()) > 1e-4


def test_the_derivative_of_a_network_along_the_path():
    """D_s of the mean of a map with a network, against differences along the moving start."""
    flow_map = random_dynamics("langevin")
    h = torch.tensor([0.004, 0.02, 0.037], dtype=torch.float64)
    s, t = torch.zeros(3).double(), h
    x, generator = thermal_state("langevin", 3)
    increment = sample_increment(flow_map.basis, h, (3, 5, 3), generator, torch.float64)
    n = flow_map.sde.nonlinear(s, x)
    mean, slope = mean_by_start(flow_map, s, t, x, n, increment)
    rate = flow_map.sde.drift(s, x, n) + flow_map.sde.noise(s, path_rate_at_start(increment))
    turn = whitened_by_start(increment)

    def at(d):
        return flow_map.mean(s + d, t, x + d * rate, increment.whitened() + d * turn)

    numerical = (at(1e-7) - at(-1e-7)) / 2e-7
    assert torch.allclose(slope, numerical, rtol=1e-4, atol=1e-4 * float(slope.abs().max()))
    assert mean.abs().max() > 1.0


class Spring(torch.nn.Module):
    """What a network must say for the force to be F = K (x - centre), exactly linear."""

    def __init__(self, scales, matrix):
        super().__init__()
        self.scales, self.matrix = scales, matrix

    def forward(self, positions, vectors, s, t):
        sizes = torch.tensor(self.scales.forces).double()[:, None]
        force = torch.einsum("ij,bjx->bix", self.matrix, positions) * self.scales.length / sizes
        return torch.stack([force, torch.zeros_like(force)], dim=-1)


@pytest.mark.parametrize("order", [1, 4])
def test_mean_points_of_a_linear_force_are_right_to_second_order(order):
    """Against the conditional mean of the exact solution: error (ω h)² of it, then 1/4 by halving.

    The exact solution on the mean path given the features solves the linear equation with that
    path, here by many exact short steps of it.
    """
    base = random_dynamics("langevin", order=order)
    generator = torch.Generator().manual_seed(4)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    root = root - root.mean(1, keepdim=True)
    network = Spring(base.scales, -3000.0 * root.mT @ root)
    flow_map = type(base)(network, base.scales, order).double()
    short = MeanPointMap(flow_map)
    x, generator = thermal_state("langevin", 2)
    z = torch.randn(2, 5, 3, order + 1, generator=generator, dtype=torch.float64)
    errors = []
    for h in (0.002, 0.001):
        now, end = torch.zeros(2).double(), torch.full((2,), h, dtype=torch.float64)
        exact = by_fine_steps(flow_map, network.matrix, h, x, z)
        found = short.mean(now, end, x, z)
        errors.append((found - exact).abs().max() / exact.abs().max())
        frozen = (flow_map.mean(now, now, x, 0 * z) - exact).abs().max() / exact.abs().max()
        assert errors[-1] < 0.2 * frozen
    assert errors[0] / errors[1] > 3.0


@pytest.mark.parametrize(("h", "most"), [(0.0005, 2e-7), (0.001, 1e-5)])
def test_two_mean_points_keep_the_energy_of_a_bond_with_hydrogen(h, most):
    """What a step does to a vibration, (2, 2) in thermal units, against a matrix exponential.

    Its determinant is the part of the energy that is left, of which the bath replaces γh.
    """
    base, rate = random_dynamics("langevin", order=2), 2.0 * math.pi / 0.0111
    masses = torch.tensor(base.scales.masses).double()
    spring = -(rate**2) * (torch.diag(masses) - masses[:, None] * masses / masses.sum())
    flow_map = type(base)(Spring(base.scales, spring), base.scales, 2).double().at(300.0, 1.0)
    d = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    d = d - (masses[:, None] * d).sum(1, keepdim=True) / masses.sum()
    none = torch.zeros_like(d)
    x = torch.cat([torch.stack([d / rate, none], dim=1), torch.stack([none, d], dim=1)])
    s, u, t = (share * torch.full((2,), h, dtype=torch.float64) for share in (0.0, 0.5, 1.0))
    halves = [
        Increment.from_whitened(flow_map.basis, u, torch.zeros(2, 5, 3, 3).double())
        for _ in range(2)
    ]
    short = MeanPointMap(flow_map)
    mean = composed_mean(short, short, s, u, t, x, *halves)
    end = flow_map.sde.apply(s, t, x, mean, join(*halves))
    step = torch.einsum("bkax,ax->kb", end, d[0]) / d.square().sum()
    step[0] *= rate
    a = torch.tensor([[0.0, rate], [-rate, -1.0]], dtype=torch.float64)
    exact = torch.from_numpy(expm(h * a.numpy()))
    assert (step - exact).abs().max() < 1e-4
    assert abs(float(torch.det(step)) / math.exp(-h) - 1.0) < most < 0.01 * h * 1.5


def by_fine_steps(flow_map, matrix, h, x, z, count=4000):
    """Return n̄ of the mean path: dV = (K X/m − γ V) dt + σ w du walked by the midpoint rule."""
    sde = flow_map.sde
    increment = Increment.from_whitened(flow_map.basis, torch.full((2,), h, dtype=torch.float64), z)
    theta = torch.linspace(0.0, 1.0, count + 1).double()
    walk = mean_path(increment, theta).diff(dim=-1)
    position, velocity, d = x[:, 0], x[:, 1], h / count
    for k in range(count):
        half = position + 0.5 * d * velocity
        push = torch.einsum("ij,bjx->bix", matrix, half - half.mean(1, keepdim=True)) / sde.masses
        kick = d * push + sde.sigma * walk[..., k]
        change = (kick - d * flow_map.friction * velocity) / (1.0 + 0.5 * d * flow_map.friction)
        position, velocity = position + d * (velocity + 0.5 * change), velocity + change
    end = torch.stack([position, velocity], dim=1)
    now, lag = torch.zeros(2).double(), torch.full((2,), h, dtype=torch.float64)
    rest = end - sde.apply(now, lag, x, torch.zeros_like(x), increment)
    return act(torch.linalg.inv(sde.gain(now, lag)), rest)


@pytest.mark.parametrize("order", [1, 3])
def test_overdamped_mean_points(order):
    """One step of a constant slope: F at x + mean displacement is exact for a linear force."""
    base = random_dynamics("overdamped", order=order)
    x, generator = thermal_state("overdamped", 2)
    z = torch.randn(2, 5, 3, order, generator=generator, dtype=torch.float64)
    h = 0.004
    now, end = torch.zeros(2).double(), torch.full((2,), h, dtype=torch.float64)
    found = OverdampedMeanPointMap(base).mean(now, end, x, z)
    # ∫ (W_u − W_s) du over the step from the whitened features, by I⁰ and I¹.
    first = math.sqrt(h) * z[..., 0]
    second = math.sqrt(h / 3.0) * z[..., 1] if order > 1 else 0.0
    mean = 0.5 * (first - second)
    point = x + base.sde.diffusion * mean + 0.5 * h * base.sde.mobility * base.force(x)
    assert torch.allclose(found, base.force(point), rtol=1e-12, atol=1e-9)
    assert (found - base.force(x)).abs().max() > 1.0
