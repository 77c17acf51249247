"""The probability flow inside a strong map: exact where the denoiser is, of first order, one jump
the same as the map fed that path, and its derivative by another way."""

import math

import pytest
import torch
from torch import nn
from toy_maps import SDE, gaussian_map, random_map, state

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean
from molflow.sde.reverse_diffusion import ReverseDiffusion

WIDTH = 0.5


def exact(x, s, t):
    """The probability flow of data N(0, WIDTH²): dx/dt = −σ²/(WIDTH² + σ²) x."""
    return x * math.sqrt((WIDTH**2 + SDE.sigma(t) ** 2) / (WIDTH**2 + SDE.sigma(s) ** 2))


def test_converges_to_the_exact_flow_with_first_order():
    x = state(3, 4, 1, 0)[0]
    ends = [1.0, 4.0]
    wrong = []
    for steps in (8, 16, 32):
        times = torch.linspace(*ends, steps + 1, dtype=torch.float64).tolist()
        y = ProbabilityFlow(gaussian_map(WIDTH), times)(x)
        wrong.append((y - exact(x, *ends)).abs().max().item())
    assert wrong[0] < 0.08 and 1.8 < wrong[0] / wrong[1] < 2.2 and 1.9 < wrong[1] / wrong[2] < 2.1


def test_a_jump_is_the_map_on_the_path_of_constant_slope():
    flow_map = gaussian_map(WIDTH)
    x = state(3, 4, 1, 0)[0]
    s, t = (torch.full((3,), value, dtype=torch.float64) for value in (2.0, 3.1))
    sigma, h = float(SDE.sigma(2.0)), 1.1
    denoised = WIDTH**2 / (WIDTH**2 + sigma**2) * x
    slope = SDE.eta / math.sqrt(2.0) * (x - denoised) / sigma
    # I⁰ = ∫ w du, I^n = 0 and F_p = ∫ exp(−p (t − u)) w du, not whitened.
    p = SDE.eta**2
    zero = torch.zeros_like(x)
    features = torch.stack([h * slope, zero, slope * (1 - math.exp(-p * h)) / p], dim=-1)
    increment = Increment(flow_map.basis, torch.tensor(h, dtype=torch.float64), features)
    wanted = flow_map(s, t, x, increment)
    assert torch.allclose(ProbabilityFlow(flow_map, [2.0, 3.1])(x), wanted, atol=1e-8)


class HalfOf(nn.Module):
    """A network of a map with η = 0 whose D̄ is exactly that of data N(0, WIDTH²)."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, positions, noise, s, t):
        assert not noise.any()
        sigma, end = (SDE.sigma(u).reshape(-1, 1, 1) for u in (s, t))
        x = positions * torch.sqrt(1 + sigma**2)
        ratio = torch.sqrt((WIDTH**2 + end**2) / (WIDTH**2 + sigma**2))
        mean = (ratio - end / sigma) / (1 - end / sigma) * x
        return (mean - x / (1 + sigma**2)) * torch.sqrt(1 + sigma**2) / sigma


def test_a_map_without_noise_takes_one_call_a_jump():
    sde = ReverseDiffusion(SDE.sigma_max, SDE.sigma_min, 0.0)
    flow_map = DenoiserFlowMap(HalfOf(), sde, 1)
    flow = ProbabilityFlow(flow_map, [0.0, 2.0, 5.0])
    x = state(3, 4, 1, 0)[0]
    assert flow.calls == 2
    assert torch.allclose(flow(x), exact(x, 0.0, 5.0), atol=1e-12)


@pytest.mark.parametrize(("times", "calls"), [([0.0, 2.0, 5.0], 2), ([1.0, 2.0, 5.0], 3)])
def test_calls_are_counted(times, calls):
    flow_map = gaussian_map(WIDTH)
    counted, original = [], flow_map.mean
    flow_map.mean = lambda *arguments: counted.append(1) or original(*arguments)
    flow = ProbabilityFlow(flow_map, times)
    flow(state(2, 4, 1, 0)[0])
    assert len(counted) == flow.calls == calls


def test_rows_carry_the_derivative():
    flow_map = random_map().double()
    flow = ProbabilityFlow(flow_map, [0.0, 2.5, 4.0])
    x, directions = 3.0 * state(2, 5, 1, 0)[0], state(6, 5, 1, 1)[0].reshape(3, 2, 5, 3)
    rows = flow.rows(torch.cat([x.unsqueeze(0), directions]), TangentMean(flow_map))
    assert torch.allclose(rows[0], flow(x), atol=1e-12)
    for direction, derivative in zip(directions, rows[1:], strict=True):
        step = 1e-5 * direction
        by_difference = (flow(x + step) - flow(x - step)) / 2e-5
        assert torch.allclose(derivative, by_difference, atol=1e-7)


class Small(nn.Module):
    """A network of a few operations, in which both times matter."""

    def forward(self, positions, noise, s, t):
        s, t = s.reshape(-1, 1, 1), t.reshape(-1, 1, 1)
        return positions**3 * torch.sin(s) + noise[..., 0] * torch.cos(t) * positions


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_the_recorded_graph_is_of_the_function_and_not_of_its_first_arguments():
    flow_map = DenoiserFlowMap(Small(), SDE, 2)
    recorded, eager = TangentMean(flow_map, recorded=True), TangentMean(flow_map)
    for seed, length in enumerate((0.0, 0.5)):
        rows, z = (part.reshape(2, 2, 5, 3, -1) for part in state(4, 5, flow_map.basis.size, seed))
        s = torch.full((2,), 1.0 + seed, dtype=torch.float64)
        t = s + length if length else s
        both = [mean(s, t, rows[..., 0], z) for mean in (recorded, eager)]
        assert torch.allclose(*both, atol=1e-12)
    assert len(recorded._graphs) == 1


def test_times():
    flow_map = gaussian_map(WIDTH)
    times = flow_times(flow_map, 3, 0.12)
    assert times[0] == 0.0 and float(SDE.sigma(times[-1])) == pytest.approx(0.12)
    parts = flow_map.clock.position(torch.tensor(times)).diff()
    assert torch.allclose(parts, parts.mean().expand(3))
    assert flow_times(flow_map, 2) == flow_map.clock.grid(2)
    with pytest.raises(MolflowError, match="stop is 20"):
        flow_times(flow_map, 3, 20.0)
    with pytest.raises(MolflowError, match="must increase"):
        ProbabilityFlow(flow_map, [1.0, 1.0])
