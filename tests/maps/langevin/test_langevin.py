"""Maps of Langevin dynamics: state by formula, symmetry, and what a step of no length is."""

import math
from itertools import pairwise

import pytest
import torch
from langevin_maps import SCALES, random_dynamics, thermal_state

from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.maps.dynamics.scales import LangevinScales
from molflow.propagation.motion import Motion
from molflow.solvers.loop import integrate, uniform_times
from molflow.units import thermal_energy

KINDS = ["langevin", "overdamped"]
LAGS = torch.tensor([0.0, 0.0005, 0.013, 0.04]).double()


def problem(kind, **changes):
    flow_map = random_dynamics(kind, **changes)
    x, generator = thermal_state(kind, len(LAGS))
    shape = (len(LAGS), 5, 3)
    increment = sample_increment(flow_map.basis, LAGS, shape, generator, torch.float64)
    return flow_map, x, increment


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_no_length_knows_positions_only(kind):
    flow_map, x, increment = problem(kind)
    none = torch.zeros_like(LAGS)
    n = flow_map.mean(none, none, x, increment.whitened())
    other = x.clone()
    if kind == "langevin":
        other[:, 1] *= -3.0
        assert torch.equal(n[:, 0], n[:, 1])
    assert torch.equal(flow_map.mean(none, none, other, -2.0 * increment.whitened()), n)
    positions = x[:, 0] if kind == "langevin" else x
    scale = torch.tensor(SCALES.masses).double()[:, None] if kind == "langevin" else 1.0
    found = scale * (n[:, 1] if kind == "langevin" else n)
    assert torch.allclose(flow_map.force(positions), found, rtol=1e-12, atol=1e-9)
    assert found.abs().max() > 10.0
    assert torch.allclose(flow_map.sde.nonlinear(none, x), n, rtol=1e-12, atol=1e-9)
    # and with a length it knows more
    moved = flow_map.mean(none, LAGS, x, increment.whitened())
    still = flow_map.mean(none, LAGS, x, 0.0 * increment.whitened())
    assert bool(((moved - still)[1:].abs().flatten(1).amax(1) > 1e-3).all())


@pytest.mark.parametrize("kind", KINDS)
def test_rotated_coefficients_rotate_the_end_and_mirrored_ones_do_not_mirror_it(kind):
    flow_map, x, increment = problem(kind)
    none = torch.zeros_like(LAGS)
    generator = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    turn = turn * torch.sign(torch.linalg.det(turn))
    end = flow_map(none, LAGS, x, increment)
    shift = torch.tensor([0.3, -2.0, 5.0]).double()
    positions = torch.tensor([1.0, 0.0]).double().reshape(2, 1, 1) if x.ndim == 4 else 1.0
    turned = flow_map(none, LAGS, x @ turn.mT + positions * shift, increment.rotate(turn))
    assert (turned - (end @ turn.mT + positions * shift)).abs().max() < 1e-9
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0])).double()
    mirrored = flow_map(none, LAGS, x @ mirror, increment.rotate(mirror))
    assert (mirrored - end @ mirror)[1:].abs().max() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_centre_of_mass_moves_as_if_free(kind):
    flow_map, x, increment = problem(kind)
    none = torch.zeros_like(LAGS)
    masses = torch.tensor(SCALES.masses).double()[:, None]
    free = flow_map.sde.apply(none, LAGS, x, torch.zeros_like(x), increment)
    end = flow_map(none, LAGS, x, increment)
    assert ((end - free) * masses).sum(-2).abs().max() < 1e-10
    assert (end - free).abs().max() > 1e-4
    if kind == "langevin":
        # A common velocity carries the molecule along and changes nothing else.
        wind = torch.tensor([2.0, -1.0, 0.5]).double()
        drifting = x.clone()
        drifting[:, 1] += wind
        n = flow_map.mean(none, LAGS, x, increment.whitened())
        assert torch.allclose(
            flow_map.mean(none, LAGS, drifting, increment.whitened()), n, rtol=1e-9, atol=1e-6
        )


def test_the_network_sees_the_physical_free_path_whatever_the_state():
    """Another temperature and friction change increments by formula, and weights not at all.

    Velocities v and whitened features z at one state make the same free path as others at another
    state; the network, which sees the path, must say the same force.
    """
    flow_map = random_dynamics("langevin")
    other = flow_map.at(350.0, 11.0)
    assert other.network is flow_map.network and other.basis.rates == (11.0,)
    x, generator = thermal_state("langevin", 3)
    h = torch.full((3,), 0.017).double()
    z = torch.randn(3, 5, 3, 4, generator=generator).double()
    c = flow_map.free_coefficients(h, x[:, 1], z)
    # Solve for what makes the same coefficients at the other state: as many numbers as unknowns.
    eye = torch.eye(5).double()
    thermal = math.sqrt(thermal_energy(SCALES.temperature))
    root = torch.tensor(SCALES.masses).double().sqrt()
    columns = []
    for k in range(5):
        velocity = eye[k, 0] * thermal / root[None, :, None] * torch.ones(3, 5, 3).double()
        probe = eye[k, 1:].expand(3, 5, 3, 4)
        # One atom's own response: the projection removes the same from all.
        only = torch.tensor([1.0, 0, 0, 0, 0]).double().reshape(1, 5, 1)
        seen = other.free_coefficients(h, velocity * only, probe * only[..., None])
        columns.append(seen[0, 0, 0] / (1.0 - SCALES.masses[0] / sum(SCALES.masses)))
    matrix = torch.stack(columns, dim=-1)
    solved = torch.linalg.solve(matrix, c[..., None])[..., 0]
    state = torch.stack([x[:, 0], thermal / root[None, :, None] * solved[..., 0]], dim=1)
    none = torch.zeros(3).double()
    expected = flow_map.mean(none, h, x, z)
    found = other.mean(none, h, state, solved[..., 1:])
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-5)
    # which a map that saw whitened numbers would not do
    assert (other.mean(none, h, x, z) - expected).abs().max() > 1e-2


def test_free_coefficients_are_of_unit_size_in_equilibrium():
    flow_map, count = random_dynamics("langevin", order=8), 4000
    generator = torch.Generator().manual_seed(0)
    masses = torch.tensor(SCALES.masses).double()
    thermal = torch.sqrt(thermal_energy(300.0) / masses)[:, None]
    for lag in (1e-4, 0.04):
        v = thermal * torch.randn(count, 5, 3, generator=generator, dtype=torch.float64)
        z = torch.randn(count, 5, 3, 9, generator=generator, dtype=torch.float64)
        c = flow_map.free_coefficients(torch.full((count,), lag).double(), v, z)
        expected = 1.0 - masses / masses.sum()
        assert torch.allclose(
            c.square().mean(dim=(0, 2)), expected[:, None].expand(5, 10), atol=0.06
        )


def test_overdamped_friction_is_a_unit_of_time():
    flow_map = random_dynamics("overdamped")
    slow = flow_map.at(300.0, 10.0)
    x, generator = thermal_state("overdamped", 2)
    z = torch.randn(2, 5, 3, 3, generator=generator).double()
    none, h = torch.zeros(2).double(), torch.tensor([0.003, 0.04]).double()
    assert torch.allclose(slow.mean(none, 5.0 * h, x, z), flow_map.mean(none, h, x, z), rtol=1e-9)
    ends = [
        model(none, lag, x, Increment.from_whitened(model.basis, lag, z))
        for model, lag in ((slow, 5.0 * h), (flow_map, h))
    ]
    assert (ends[0] - ends[1]).abs().max() < 1e-10
    # Hotter, the same displacements are made by smaller numbers.
    hot = flow_map.at(400.0, 2.0)
    assert torch.allclose(
        hot.mean(none, h, x, z * math.sqrt(300.0 / 400.0)), flow_map.mean(none, h, x, z), rtol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_of_the_solvers_walks_the_map(kind):
    """It is the composition of the map's steps, and where chains of a propagation come to."""
    flow_map, x, _ = problem(kind)
    path = BrownianPath(flow_map.basis, 0.0, 0.16, (4, 5, 3), 0, dtype=torch.float64)
    times = uniform_times(path, 8)
    with torch.no_grad():
        end, expected, chained = integrate(flow_map, x, path, times), x, x
        for s, t in pairwise(times):
            increment = path.increment(s, t)
            ends = (torch.tensor(time, dtype=torch.float64) for time in (s, t))
            expected = flow_map(*ends, expected, increment)
            chained = Motion(flow_map, batch_size=3).step(chained, increment)
    assert torch.equal(end, expected)
    assert (end - x).abs().max() > 0.01
    assert (chained - end).abs().max() < 1e-9 * end.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_sentences(kind):
    flow_map, x, _ = problem(kind)
    long = torch.full((4,), 0.05).double()
    z = torch.zeros(4, 5, 3, flow_map.basis.size).double()
    with pytest.raises(MolflowError, match="the lag is 50 fs, and the map is trained up to 40 fs"):
        flow_map.mean(torch.zeros(4).double(), long, x, z)
    with pytest.raises(MolflowError, match="temperature is -3"):
        flow_map.at(-3.0, 1.0)
    if kind == "langevin":
        with pytest.raises(MolflowError, match="friction times lag is 40"):
            flow_map.at(300.0, 1000.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"masses": (1.0, 0.0, 1.0, 1.0, 1.0)}, "masses are .* positive"),
        ({"forces": (1.0,)}, "5 masses and 1 sizes of forces"),
        ({"longest_lag": -1.0}, "longest_lag is -1"),
    ],
)
def test_impossible_scales_are_sentences(change, words):
    with pytest.raises(MolflowError, match=words):
        LangevinScales(**(SCALES.to_dict() | change))


def test_scales_survive_their_description():
    assert LangevinScales.from_dict(SCALES.to_dict()) == SCALES
    energy = thermal_energy(300.0)
    assert SCALES.response_times[1] == pytest.approx(math.sqrt(1.0 * energy) / 500.0)
