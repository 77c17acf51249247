"""Jumping along one Brownian path."""

import math

import torch
from toy_maps import GRAPH, SDE, gaussian_map, half_denoiser_map, random_map

from molflow.brownian.path import BrownianPath
from molflow.flow_map.centring import centre
from molflow.flow_map.rollout import centre_increment, rollout
from molflow.maps.denoiser.clock import StepClock

CLOCK = StepClock(SDE.duration)
SHAPE = (3, GRAPH.n_atoms, 3)


def path_of(flow_map, seed=0):
    return BrownianPath(flow_map.basis, 0.0, SDE.duration, SHAPE, seed, dtype=torch.float64)


def start(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 10.0 * centre(torch.randn(SHAPE, generator=generator, dtype=torch.float64))


def test_an_exact_map_gives_the_same_state_at_any_number_of_jumps():
    flow_map = half_denoiser_map()
    path, x = path_of(flow_map), start()
    with torch.no_grad():
        states = [rollout(flow_map, x, path, CLOCK.grid(k)) for k in (1, 2, 3, 8, 64)]
    assert states[0].abs().max() > 1e-3
    for state in states[1:]:
        assert (state - states[0]).abs().max() < 1e-9
    # which is the solution in closed form
    whole = centre_increment(path.increment(0.0, SDE.duration)).increment
    exact = math.exp(-SDE.duration) * x + 2**0.5 * SDE.sigma_min * whole
    assert (states[0] - exact).abs().max() < 1e-9


def test_a_gaussian_map_converges_on_the_path_to_the_denoising_sde():
    """At 64 jumps every step is fine enough: the error falls at a high order."""
    flow_map = gaussian_map(0.5, order=2)
    path, x = path_of(flow_map), start()
    with torch.no_grad():
        fine = rollout(flow_map, x, path, CLOCK.grid(256))
        errors = [
            float((rollout(flow_map, x, path, CLOCK.grid(k)) - fine).square().mean())
            for k in (4, 8, 16, 32)
        ]
    ratios = [float((a / b) ** 0.5) for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert min(ratios[1:]) > 4.0
    assert errors[-1] ** 0.5 < 1e-3 and errors[0] ** 0.5 > 1e-2


def test_rollout_is_the_composition_of_its_jumps():
    flow_map = random_map().double()
    path, x = path_of(flow_map), start()
    times = [0.0, 2.0, SDE.duration]
    with torch.no_grad():
        out = rollout(flow_map, x, path, times)
        middle = rollout(flow_map, x, path, times[:2])
        assert (rollout(flow_map, middle, path, times[1:]) - out).abs().max() < 1e-12
    assert out.mean(1).abs().max() < 1e-11


def test_centred_increments_have_no_mean_and_are_otherwise_the_same():
    flow_map = random_map()
    increment = path_of(flow_map).increment(1.0, 2.0)
    centred = centre_increment(increment)
    assert centred.features.mean(1).abs().max() < 1e-14
    assert (
        centred.features - (increment.features - increment.features.mean(1, keepdim=True))
    ).abs().max() < 1e-14
    assert torch.equal(centred.h, increment.h)
    assert (centred.whitened().mean(1)).abs().max() < 1e-14
