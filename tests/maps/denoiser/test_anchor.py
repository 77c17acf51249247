import math

import numpy as np
import pytest
import torch
from toy_maps import GRAPH, SDE, gaussian_map, half_denoiser_map, random_map, state

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.maps.denoiser.anchor import anchored_mean, anchored_residual, mean_point

WIDTH = 0.5


@pytest.mark.parametrize("h", [0.03, 0.27, 2.0])
def test_mean_point_is_the_average_along_the_path_with_the_denoiser_frozen(h):
    """Against a path of 20,000 steps: time, position, and what the coefficients cannot know."""
    steps, s = 20000, torch.tensor([3.0]).double()
    t, du = s + h, h / steps
    rng = np.random.default_rng(0)
    increments = rng.standard_normal(steps) * math.sqrt(du)
    u = (np.arange(steps) + 0.5) * du
    legendre = np.polynomial.legendre.legvander(2 * u / h - 1, 5)
    coefficients = torch.from_numpy(increments @ legendre)
    density = 2.0 * np.exp(-2.0 * (h - u))
    density /= density.sum()
    x, denoised = 1.3, 0.4
    sigma = float(SDE.sigma(s)) * np.exp(-u)
    # M_u = sqrt(2) sigma(u) int_s^u exp(-(u - v)) dW_v, at the midpoints
    running = np.exp(-u) * (np.cumsum(np.exp(u) * increments) - 0.5 * np.exp(u) * increments)
    path = denoised + np.exp(-2.0 * u) * (x - denoised) + math.sqrt(2.0) * sigma * running
    basis = Basis(6, (1.0,))
    features = torch.zeros(1, 2, 3, 7).double()
    features[..., :6] = coefficients
    time, position = mean_point(
        SDE,
        s,
        t,
        torch.full((1, 2, 3), x).double(),
        torch.full((1, 2, 3), denoised).double(),
        Increment(basis, t - s, features),
    )
    assert float(time) == pytest.approx(3.0 + float(density @ u), abs=1e-4 * h)
    expected = float(density @ path)
    assert position.flatten().tolist() == pytest.approx([expected] * 6, abs=2e-3 * abs(expected))


def problem(flow_map, h, seed=1, s=(2.0, 4.0, 6.0)):
    s = torch.tensor(s).double()
    x, z = state(len(s), GRAPH.n_atoms, flow_map.basis.size, seed)
    x = torch.sqrt(WIDTH**2 + SDE.sigma(s) ** 2).reshape(-1, 1, 1) * x
    return s, s + h, x, Increment.from_whitened(flow_map.basis, torch.full_like(s, h), z)


def errors(flow_map, h):
    s, t, x, increment = problem(flow_map, h)
    exact = flow_map.mean(s, t, x, increment.whitened())
    anchored = anchored_mean(flow_map, s, t, x, increment)
    frozen = flow_map.mean(s, s, x, torch.zeros_like(increment.features))
    return [float((other - exact).abs().max()) for other in (anchored, frozen)]


@pytest.mark.parametrize("flow_map", [gaussian_map(WIDTH, order=4), half_denoiser_map(order=4)])
def test_short_steps_are_closer_to_the_exact_map_than_the_frozen_denoiser(flow_map):
    for h in (0.02, 0.05, 0.1):
        anchored, frozen = errors(flow_map, h)
        assert anchored < 2.0 * h * frozen


def test_widths_survive_a_chain_of_short_steps():
    """A frozen denoiser shrinks Gaussian data step by step, the anchored one hardly does.

    Without noise in the features the chain is linear in x; its law follows from the variance.
    """
    h, flow_map = SDE.duration / 128, gaussian_map(WIDTH, order=4)
    size = flow_map.basis.size

    def final_sd(mean_denoiser):
        variance = WIDTH**2 + SDE.sigma_max**2
        for k in range(128):
            s = torch.full((1,), k * h, dtype=torch.float64)
            t = s + h
            # Responses to x and to each feature, on two atoms that move oppositely.
            probes = torch.eye(1 + size, dtype=torch.float64).reshape(1 + size, 1, 1, 1 + size)
            probes = (probes * torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1)).expand(-1, 2, 3, -1)
            ends = s.expand(1 + size), t.expand(1 + size)
            increment = Increment.from_whitened(
                flow_map.basis, ends[1] - ends[0], probes[..., 1:].contiguous()
            )
            x = probes[..., 0]
            new = SDE.apply(*ends, x, mean_denoiser(*ends, x, increment), increment)[:, 0, 0]
            variance = float(new[0] ** 2 * variance + new[1:].square().sum())
        return math.sqrt(variance)

    def frozen(s, t, x, increment):
        return flow_map.mean(s, s, x, torch.zeros_like(increment.features))

    def anchored(s, t, x, increment):
        return anchored_mean(flow_map, s, t, x, increment)

    assert final_sd(frozen) / WIDTH == pytest.approx(0.968, abs=0.002)
    assert final_sd(anchored) / WIDTH == pytest.approx(1.0, abs=0.003)


def test_no_gradient_reaches_the_teacher_and_the_residual_is_scaled():
    student, teacher = random_map().double(), random_map(seed=1).double()
    s, t, x, increment = problem(student, 0.1)
    residual = anchored_residual(student, teacher, s, t, x, increment)
    target = anchored_mean(teacher, s, t, x, increment)
    error = student.mean(s, t, x, increment.whitened()) - target
    expected = error.square().mean((1, 2)) * (1 + SDE.sigma(s) ** 2) / SDE.sigma(s) ** 2
    assert torch.allclose(residual, expected, rtol=1e-12)
    residual.sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert float(student.network.last.grad.abs().max()) > 0
