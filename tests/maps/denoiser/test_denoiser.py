"""Symmetries, identity and derivatives of the flow map."""

import pytest
import torch
from toy_maps import GRAPH, SDE, random_map, state

from molflow.brownian.increment import Increment
from molflow.flow_map.centring import centre
from molflow.nn.dense_attention import DenseConfig
from molflow.nn.graph import MolecularGraph
from molflow.systems import load_system
from molflow.testing import assert_equivariant

S, T = torch.tensor([0.5, 3.0, 7.0]).double(), torch.tensor([2.0, 3.1, 8.0]).double()


@pytest.fixture(scope="module")
def flow_map():
    return random_map().double().requires_grad_(False)


def positions_at(s, x):
    """Scale unit positions to the size that they have at the noise of time s."""
    return torch.sqrt(1.0 + SDE.sigma(s) ** 2).reshape(-1, 1, 1) * x


def inputs(seed=1, dtype=torch.float64):
    x, z = state(3, GRAPH.n_atoms, SDE.basis(3).size, seed, dtype)
    return positions_at(S.to(dtype), x), z


def test_rotation_with_every_coefficient_and_no_reflection(flow_map):
    x, z = inputs()
    increment = Increment.from_whitened(flow_map.basis, T - S, z)
    generator = torch.Generator().manual_seed(2)
    assert_equivariant(
        lambda x, increment: flow_map(S, T, x, increment), x, increment, generator, 1e-9
    )
    # The denoiser itself, without the linear part of the step, which is of either hand.
    assert_equivariant(
        lambda x, increment: flow_map.mean(S, T, x, increment.whitened()),
        x,
        increment,
        generator,
        1e-9,
    )


def test_rotation_in_float32_at_the_default_size():
    graph = MolecularGraph.from_topology(load_system("alanine_dipeptide").topology())
    flow_map = random_map(graph, DenseConfig().model_dump(exclude={"kind"}), order=4, seed=3)
    x, z = state(4, 22, 5, 4, torch.float32)
    s, t = torch.tensor([0.0, 2.0, 5.0, 8.0]), torch.tensor([8.5, 4.0, 5.5, 8.5])
    increment = Increment.from_whitened(flow_map.basis, t - s, z)

    def denoise(x, increment):
        with torch.no_grad():
            return flow_map.mean(s, t, positions_at(s, x), increment.whitened())

    # The preconditioner alone gives a denoiser too: the network must have its say in it.
    scale = torch.rsqrt(1.0 + SDE.sigma(s) ** 2).reshape(-1, 1, 1)
    assert (denoise(x, increment) - scale * x).abs().max() > 0.1
    assert_equivariant(denoise, x, increment, torch.Generator().manual_seed(5), 1e-4)


def test_the_centre_stays_and_does_not_matter(flow_map):
    x, z = inputs()
    increment = Increment.from_whitened(flow_map.basis, T - S, z)
    out = flow_map(S, T, x, increment)
    assert out.mean(1).abs().max() < 1e-12
    moved = x + torch.tensor([3.0, -1.0, 2.0]).double()
    assert (flow_map(S, T, centre(moved), increment) - out).abs().max() < 1e-11


def test_a_batch_is_its_members(flow_map):
    x, z = inputs()
    out = flow_map(S, T, x, Increment.from_whitened(flow_map.basis, T - S, z))
    for k in range(3):
        one = slice(k, k + 1)
        increment = Increment.from_whitened(flow_map.basis, (T - S)[one], z[one])
        assert (flow_map(S[one], T[one], x[one], increment) - out[one]).abs().max() < 1e-12


def test_a_step_of_no_length_is_the_identity(flow_map):
    x, z = inputs()
    out = flow_map(S, S, x, Increment.from_whitened(flow_map.basis, torch.zeros(3).double(), z))
    assert torch.equal(out, x)
    # and the denoiser there does not see the coefficients
    denoised = flow_map.mean(S, S, x, z)
    assert torch.equal(denoised, flow_map.mean(S, S, x, torch.zeros_like(z)))
    assert (denoised - x / (1.0 + SDE.sigma(S).reshape(-1, 1, 1) ** 2)).abs().max() > 1e-3


def test_untrained_map_is_the_preconditioner():
    flow_map = random_map().double()
    flow_map.network.last.data.zero_()
    x, z = inputs()
    expected = x / (1.0 + SDE.sigma(S).reshape(-1, 1, 1) ** 2)
    assert (flow_map.mean(S, T, x, z) - expected).abs().max() < 1e-14


@pytest.mark.parametrize("moved", ["s", "t", "x", "z"])
def test_jvp_equals_finite_differences(flow_map, moved):
    def function(s, t, x, z):
        return flow_map(s, t, x, Increment.from_whitened(flow_map.basis, t - s, z))

    values = dict(zip("stxz", (S, T, *inputs()), strict=True))
    generator = torch.Generator().manual_seed(6)
    tangents = {name: torch.zeros_like(value) for name, value in values.items()}
    tangents[moved] = torch.randn(values[moved].shape, generator=generator, dtype=torch.float64)
    _, slope = torch.func.jvp(function, tuple(values.values()), tuple(tangents.values()))

    def at(step):
        return function(*(values[name] + step * tangents[name] for name in values))

    step = 1e-4
    # Fourth-order central difference.
    difference = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    assert slope.abs().max() > 1e-3
    assert (slope - difference).abs().max() < 1e-8 * (1.0 + slope.abs().max())


@pytest.mark.parametrize("case", ["two atoms coincide", "all atoms coincide"])
def test_derivatives_are_finite_where_atoms_coincide(flow_map, case):
    x, z = inputs()
    if case == "two atoms coincide":
        x[:, 1], z[:, 1] = x[:, 0], z[:, 0]
    else:
        x, z = torch.zeros_like(x), torch.zeros_like(z)

    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=x.dtype)

    def size(x, z):
        return (weight * flow_map.mean(S, T, x, z)).sin().sum()

    x.requires_grad_(), z.requires_grad_()
    first = torch.autograd.grad(size(x, z), (x, z), create_graph=True)
    assert all(part.isfinite().all() and part.abs().max() > 0 for part in first)
    second = torch.autograd.grad(sum(part.square().sum() for part in first), (x, z))
    assert all(part.isfinite().all() for part in second)
    _, forward = torch.func.jvp(size, (x, z), (torch.ones_like(x), torch.ones_like(z)))
    assert float(forward) == pytest.approx(float(sum(part.sum() for part in first)), abs=1e-9)
