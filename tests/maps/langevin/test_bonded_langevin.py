"""Maps that know bonded forces: symmetry, states by formula, and steps from the force alone."""

import math

import pytest
import torch
from langevin_maps import SCALES, random_dynamics, thermal_state
from torch import nn

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.legendre import shifted_legendre
from molflow.maps.langevin import step_plan
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.bonded_semigroup import composed_rest, joined
from molflow.maps.langevin.known_motion import expansion
from molflow.maps.langevin.path_quadrature import PathQuadratureMap
from molflow.maps.langevin.rest_norm import rest_error
from molflow.units import thermal_energy

LAGS = torch.tensor([0.0, 0.0005, 0.013, 0.04]).double()


def problem(**changes):
    flow_map = random_dynamics("bonded", **changes)
    x, generator = thermal_state("langevin", len(LAGS))
    x[:, 0] = chain() + 0.005 * x[:, 0]
    shape = (len(LAGS), 5, 3)
    return flow_map, x, sample_increment(flow_map.basis, LAGS, shape, generator, torch.float64)


def chain():
    """Return a sound conformation of the five atoms, (5, 3) nm."""
    return torch.tensor(
        [[0.0, 0, 0], [-0.05, 0.1, 0], [0.13, 0, 0], [0.19, 0.12, 0.04], [0.33, 0.13, 0.08]]
    ).double()


def test_a_step_of_no_length_knows_positions_only():
    flow_map, x, increment = problem()
    none = torch.zeros_like(LAGS)
    n = flow_map.mean(none, none, x, increment.whitened())
    masses = torch.tensor(SCALES.masses).double()[:, None]
    force = flow_map.force(x[:, 0])
    assert torch.allclose(masses * n[:, 1], force, rtol=1e-3, atol=1e-2 * float(force.abs().max()))
    rest = force - BondedForce(flow_map.scales.bonded, 5)(x[:, 0])
    assert torch.allclose(rest, flow_map.rest_force(x[:, 0])) and rest.abs().max() > 10.0
    assert rest.sum(1).abs().max() < 1e-9


def test_rotated_coefficients_rotate_the_end_and_mirrored_ones_do_not_mirror_it():
    flow_map, x, increment = problem()
    none = torch.zeros_like(LAGS)
    generator = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    turn = turn * torch.sign(torch.linalg.det(turn))
    end = flow_map(none, LAGS, x, increment)
    shift = torch.tensor([0.3, -2.0, 5.0]).double()
    positions = torch.tensor([1.0, 0.0]).double().reshape(2, 1, 1)
    turned = flow_map(none, LAGS, x @ turn.mT + positions * shift, increment.rotate(turn))
    assert (turned - (end @ turn.mT + positions * shift)).abs().max() < 1e-9
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0])).double()
    mirrored = flow_map(none, LAGS, x @ mirror, increment.rotate(mirror))
    assert (mirrored - end @ mirror)[2:].abs().max() > 1e-5


def test_the_centre_of_mass_moves_as_if_free():
    flow_map, x, increment = problem()
    none = torch.zeros_like(LAGS)
    masses = torch.tensor(SCALES.masses).double()[:, None]
    free = flow_map.sde.apply(none, LAGS, x, torch.zeros_like(x), increment)
    end = flow_map(none, LAGS, x, increment)
    assert ((end - free) * masses).sum(-2).abs().max() < 1e-10
    assert (end - free).abs().max() > 1e-4


def test_steps_of_a_batch_do_not_see_each_other():
    """Groups of similar lengths are cut alike: up to the error of the substeps."""
    flow_map, x, increment = problem()
    none, z = torch.zeros_like(LAGS), increment.whitened()
    together = flow_map.mean(none, LAGS, x, z)
    for k in range(len(LAGS)):
        alone = flow_map.mean(none[k : k + 1], LAGS[k : k + 1], x[k : k + 1], z[k : k + 1])
        assert torch.allclose(together[k : k + 1], alone, rtol=1e-9, atol=1e-9)
    twice = flow_map.mean(*(torch.cat([part, part]) for part in (none, LAGS, x, z)))
    assert torch.allclose(twice[:4], twice[4:], rtol=1e-12)


def test_another_state_is_another_path_and_nothing_else():
    flow_map, x, _ = problem()
    other = flow_map.at(350.0, 11.0)
    assert other.network is flow_map.network and other.motion.bonded is flow_map.motion.bonded
    assert other.basis.rates == (11.0,)
    h = torch.full((4,), 0.01).double()
    z = torch.zeros(4, 5, 3, other.basis.size).double()
    # What the network says hangs on the path alone, whatever made it.
    path = flow_map.path(h, x, z)
    assert torch.equal(flow_map.rest(h, path), other.rest(h, path))
    assert (other.path(h, x, z) - path).abs().max() > 1e-5


class Field(nn.Module):
    """A network that says a linear force, f_n of which are those of the path that it sees."""

    def __init__(self, flow_map, matrix, memory=True):
        super().__init__()
        self.owner, self.matrix, self.memory = [flow_map], matrix, memory

    def forward(self, positions, vectors, s, t):
        flow_map = self.owner[0]
        h = (t - s) / known_clock() * flow_map.scales.longest_lag
        tau = flow_map.response.to(positions)
        unit = torch.sqrt(h.square() + tau.min() ** 2)[:, None, None]
        thermal = flow_map.thermal_velocity(positions) * unit
        force = [self._of(positions * flow_map.scales.length)]
        for n in range(5):
            force.append(self._of(vectors[..., n] * thermal) * self.memory)
        bound = torch.sqrt(1.0 + (h[:, None] / tau) ** 2)[..., None]
        sizes = torch.tensor(flow_map.scales.forces).to(positions)[:, None]
        seen = torch.where(h[:, None, None] > 0, h[:, None, None] / unit, 1.0)
        out = torch.stack(force, dim=-1) * (bound / sizes)[..., None]
        return out / seen[..., None] ** torch.arange(6)

    def _of(self, x):
        return torch.einsum("ij,bjx->bix", self.matrix, x)


def known_clock():
    from molflow.maps.dynamics.flow_map import CLOCK

    return CLOCK


def field_map():
    """Return a map whose rest of the force is linear, and the matrix of its springs."""
    base = random_dynamics("bonded", order=4)
    generator = torch.Generator().manual_seed(4)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    root = root - root.mean(1, keepdim=True)
    matrix = -1500.0 * root.mT @ root
    flow_map = type(base)(nn.Identity(), base.scales, 4).double()
    flow_map.network = Field(flow_map, matrix)
    return flow_map, matrix


def fine(flow_map, matrix, h, x, z):
    """Return n̄ under both forces at every substep, without any network."""
    motion = flow_map.motion
    bonded = motion.bonded

    class Both(nn.Module):
        def forward(self, positions):
            rest = torch.einsum("ij,bjx->bix", matrix, positions)
            return bonded(positions) + rest

    motion.bonded = Both()
    found = flow_map.implied(h, x, z, torch.zeros(1, *x[:, 0].shape).double())
    motion.bonded = bonded
    return found


def test_path_quadrature_is_right_to_high_order(monkeypatch):
    """Its error is the curvature of the rest's own response: halving the step shows the order."""
    monkeypatch.setattr(step_plan, "SUBSTEP", 2e-4)
    flow_map, matrix = field_map()
    x, generator = thermal_state("langevin", 2)
    x[:, 0] = chain() + 0.002 * x[:, 0]
    z = torch.randn(2, 5, 3, 5, generator=generator, dtype=torch.float64)
    short, errors, plain = PathQuadratureMap(flow_map), [], []
    for h in (0.004, 0.002, 0.001):
        lag = torch.full((2,), h).double()
        exact = fine(flow_map, matrix, lag, x, z)
        scale = exact.abs().max()
        found = short.mean(torch.zeros(2).double(), lag, x, z)
        errors.append(float((found - exact).abs().max() / scale))
        rest = torch.zeros(6, 2, 5, 3).double()
        rest[0] = flow_map.rest_force(x[:, 0]) / flow_map.sde.masses
        frozen = flow_map.implied(lag, x, z, rest)
        plain.append(float((frozen - exact).abs().max() / scale))
    assert errors[0] < 1e-3 and errors[0] < 0.05 * plain[0]
    assert errors[0] / errors[1] > 6.0 and errors[1] / errors[2] > 6.0


def test_path_quadrature_says_all_coefficients():
    """Against the force at many points of the path that the quadrature itself goes by."""
    flow_map, matrix = field_map()
    x, generator = thermal_state("langevin", 2)
    x[:, 0] = chain() + 0.002 * x[:, 0]
    z = torch.randn(2, 5, 3, 5, generator=generator, dtype=torch.float64)
    h = torch.full((2,), 0.012).double()
    found = PathQuadratureMap(flow_map).rest(h, x, z)
    motion = flow_map.motion
    plan = motion.plan(h, x)
    free = motion.free(plan, x, z)
    path = motion.respond(plan, free)[0]
    mean = torch.einsum("p,pbax->bax", expansion(len(free), 1)[0], path)
    constant = flow_map.rest_force(mean) / flow_map.sde.masses
    path = motion.respond(plan, free, constant[None])[0]
    forces = torch.einsum("ij,pbjx->pbix", matrix, path) / flow_map.sde.masses
    expected = torch.einsum("np,pbax->nbax", expansion(len(free), 6), forces)
    size = expected.square().mean(dim=(1, 2, 3)).sqrt()
    assert size[5] > 1e-3 * size[0] and len(found) == 6
    off = (found - expected).square().mean(dim=(1, 2, 3)).sqrt()
    assert torch.all(off[:5] < 0.1 * size[:5]) and off[5] < 0.5 * size[5]


class Ones(nn.Module):
    """A network that says one, whatever it sees."""

    def forward(self, positions, vectors, s, t):
        return positions.new_ones(*positions.shape, 6)


def test_later_coefficients_are_of_higher_order_in_the_length_of_a_step():
    base = random_dynamics("bonded")
    flow_map = type(base)(Ones(), base.scales, base.order).double()
    x, generator = thermal_state("langevin", len(LAGS))
    whitened = torch.randn(4, 5, 3, flow_map.basis.size, generator=generator, dtype=torch.float64)
    rest = flow_map.rest(LAGS, flow_map.path(LAGS, x, whitened))
    assert not rest[1:, 0].any() and rest[0].abs().min() > 0.0
    share = LAGS / torch.sqrt(LAGS**2 + min(SCALES.response_times) ** 2)
    for n in range(6):
        ratio = rest[n, 1:] / rest[0, 1:]
        assert torch.allclose(ratio, share[1:, None, None].pow(n).expand_as(ratio), rtol=1e-9)


def test_a_network_that_reads_the_path_is_nearly_exact_for_a_linear_force():
    """The coefficients of the force are the force at those of the path, less its own response."""
    flow_map, matrix = field_map()
    x, generator = thermal_state("langevin", 2)
    x[:, 0] = chain() + 0.002 * x[:, 0]
    z = torch.randn(2, 5, 3, 5, generator=generator, dtype=torch.float64)
    h = torch.full((2,), 0.004).double()
    found = flow_map.mean(0 * h, h, x, z)
    exact = fine(flow_map, matrix, h, x, z)
    assert (found - exact).abs().max() < 0.01 * exact.abs().max()
    flow_map.network.memory = False
    worse = flow_map.mean(0 * h, h, x, z)
    assert (worse - exact).abs().max() > 1.3 * (found - exact).abs().max()


def test_coefficients_of_a_step_follow_from_those_of_its_halves():
    generator = torch.Generator().manual_seed(0)
    early, late = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    found = joined(3) @ torch.cat([early, late])
    theta = (torch.arange(200000).double() + 0.5) / 200000
    own = torch.where(theta < 0.5, 2.0 * theta, 2.0 * theta - 1.0)
    values = shifted_legendre(own, 3) @ torch.stack([early, late], dim=1)
    values = torch.where(theta < 0.5, values[:, 0], values[:, 1])
    odd = torch.tensor([1.0, 3.0, 5.0]).double()
    expected = odd * (shifted_legendre(theta, 3) * values[:, None]).mean(0)
    assert torch.allclose(found, expected, atol=1e-8)
    # One quadratic, cut in two, stays what it is.
    whole = torch.tensor([0.3, -1.0, 0.7]).double()
    parts = []
    for shift in (0.0, 0.5):
        node = 0.5 * theta[::100] + shift
        matrix = shifted_legendre(theta[::100], 3)
        parts.append(torch.linalg.lstsq(matrix, shifted_legendre(node, 3) @ whole).solution)
    assert torch.allclose(joined(3) @ torch.cat(parts), whole, atol=1e-10)


def test_two_half_steps_are_a_step(monkeypatch):
    monkeypatch.setattr(step_plan, "SUBSTEP", 3e-4)
    flow_map, matrix = field_map()
    x, generator = thermal_state("langevin", 2)
    x[:, 0] = chain() + 0.002 * x[:, 0]
    h = torch.full((2,), 0.006).double()
    left, right = (
        sample_increment(flow_map.basis, 0.5 * h, (2, 5, 3), generator, torch.float64)
        for _ in range(2)
    )
    rest, middle, late = composed_rest(flow_map, h, x, left, right)
    first = flow_map(0 * h, 0.5 * h, x, left)
    assert torch.allclose(middle, first, rtol=1e-12, atol=1e-12)
    end = flow_map(0 * h, 0.5 * h, first, right)
    whole = join(left, right)
    mean = flow_map.implied(h, x, whole.whitened(), rest)
    found = flow_map.sde.apply(0 * h, h, x, mean, whole)
    width = torch.tensor([1e-3, 1.0]).double().reshape(2, 1, 1)
    # What is lost: the path given the features of the whole, and what is not of degree 5.
    assert ((found - end) / width).abs().max() < 0.05
    own = flow_map.rest(h, flow_map.path(h, x, whole.whitened()))
    assert (own - rest)[0].abs().max() < 0.05 * rest[0].abs().max()


def test_the_norm_of_the_rest():
    flow_map = random_dynamics("bonded")
    h = torch.tensor([0.0, 0.02]).double()
    masses = torch.tensor(SCALES.masses).double()
    size = torch.tensor(SCALES.forces).double() / masses
    error = torch.zeros(6, 2, 5, 3).double()
    error[0] = 0.1 * size[:, None]
    found = rest_error(flow_map, h, error)
    assert float(found[0]) == pytest.approx(0.01, rel=1e-9)
    tau = torch.tensor(SCALES.response_times).double()
    assert float(found[1]) == pytest.approx(0.01 * float((1 + (0.02 / tau) ** 2).mean()), rel=1e-6)
    # ∫ P_n² = 1/(2n + 1)
    assert torch.allclose(rest_error(flow_map, h, error.roll(2, 0)), found / 5.0)
    assert math.isclose(float(found[0]), 0.01, rel_tol=1e-9)


def test_an_increment_from_whitened_numbers_is_what_the_step_takes():
    flow_map, x, increment = problem()
    none = torch.zeros_like(LAGS)
    again = Increment.from_whitened(flow_map.basis, LAGS, increment.whitened())
    ends = [flow_map(none, LAGS, x, part)[1:] for part in (increment, again)]
    assert torch.allclose(*ends, rtol=1e-9, atol=1e-9)


class Nothing(nn.Module):
    """A network that says no force."""

    def forward(self, positions, vectors, s, t):
        return positions.new_zeros(*positions.shape, 6)


@pytest.mark.parametrize(
    ("lag", "order", "cold"), [(0.02, 8, 1.0), (0.04, 14, 1.0), (0.04, 8, 0.86)]
)
def test_vibrations_keep_their_temperature_in_large_steps(lag, order, cold):
    """Bonded forces alone, all known: nothing is learned that could heat or cool.

    With 8 coefficients the noise that a bond with hydrogen feels in 40 fs, three and a half of its
    periods, is not resolved (the cooling law); with 14 it is.
    """
    base = random_dynamics("bonded", order=order)
    flow_map = type(base)(Nothing(), base.scales, order).double().at(300.0, 5.0)
    count, generator = 256, torch.Generator().manual_seed(3)
    x = flow_map.start(
        chain().expand(count, -1, -1),
        torch.randn(count, 5, 3, generator=generator, dtype=torch.float64),
    )
    h, seen = torch.full((count,), lag).double(), []
    masses = torch.tensor(SCALES.masses).double()[:, None]
    for step in range(round(1.0 / lag)):
        shape = (count, 5, 3)
        increment = sample_increment(flow_map.basis, h, shape, generator, torch.float64)
        x = flow_map(0 * h, h, x, increment)
        if step * lag > 0.4:
            seen.append((masses * x[:, 1] ** 2).mean(dim=(0, 2)))
    temperatures = torch.stack(seen).mean(0) / thermal_energy(300.0)
    # 256 chains over 3 times the memory of velocities: 2 % for an atom.
    assert float(temperatures[1]) == pytest.approx(cold, abs=0.05)
    assert (temperatures[[0, 2, 3, 4]] - 1.0).abs().max() < 0.06
    lengths = torch.linalg.vector_norm(x[:, 0, 1] - x[:, 0, 0], dim=-1)
    width = (thermal_energy(300.0) / 280000.0) ** 0.5
    assert cold < 1.0 or float(lengths.std()) == pytest.approx(width, rel=0.15)
