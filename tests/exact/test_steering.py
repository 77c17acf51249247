"""Steering against closed forms: variances, rare sides, their probabilities."""

import math

import numpy as np
import pytest
import torch
from toy_maps import SDE, half_denoiser_map

from molflow.exact.steering import Steering, log_mean, next_rung

ATOMS, SIZE = 4, 9
FLOW_MAP = half_denoiser_map()
SPREAD = math.sqrt(1 + SDE.sigma_max**2)
#: Of every coordinate at the end: the equation is dX = -X dt + sqrt(2) sigma dW.
VARIANCE = float(
    math.exp(-2 * SDE.duration) * SPREAD**2 + 2 * SDE.sigma_min**2 * SDE.duration
)


def steered(energy, n, groups, steps=4, moves=2, ladder=None, seed=0):
    times = np.linspace(0, SDE.duration, steps + 1)
    steering = Steering(FLOW_MAP, times, SPREAD, energy, moves)
    generator = torch.Generator().manual_seed(seed)
    ladder = ladder or steering.ladder(n, ATOMS, generator)
    return ladder, [steering.run(n, ATOMS, ladder, generator) for _ in range(groups)]


def side(x):
    """A coordinate of the centred subspace in units of its standard deviation."""
    return ((x[:, 0, 0] - x[:, 1, 0]) / math.sqrt(2 * VARIANCE)).numpy()


def test_nothing_to_steer_by_leaves_the_maps_own_law():
    _, (group,) = steered(lambda x: np.zeros(len(x)), 2000, 1)
    assert not group.log_weights.any() and group.acceptance == 1.0
    variance = group.positions.double().square().sum().item() / (2000 * SIZE)
    assert variance == pytest.approx(VARIANCE, rel=4 * math.sqrt(2 / (2000 * SIZE)))
    assert len(set(group.ancestors)) == 2000


@pytest.mark.parametrize("steps", [1, 4])
def test_a_quadratic_energy_narrows_a_gaussian_as_it_must(steps):
    """exp(-c |x|²/2v) on N(0, v) gives N(0, v/(1 + c)), and its mean is (1 + c)^(-d/2)."""
    c = 1.5

    def energy(x):
        return 0.5 * c * (x.double().square().flatten(1).sum(1) / VARIANCE).numpy()

    ladder, groups = steered(energy, 200, 16, steps, seed=11)
    assert len(ladder) > 1 and ladder[-1] == 1.0 and np.all(np.diff(ladder) > 0)
    means = np.array([log_mean(group.log_weights) for group in groups])
    ratios = np.exp(means + 0.5 * SIZE * math.log(1 + c))
    assert ratios.mean() == pytest.approx(1.0, abs=4 * ratios.std() / 16**0.5)
    assert ratios.std() < 0.5
    found = [
        float(np.average(2 * group.energies / c / SIZE, weights=np.exp(group.log_weights)))
        for group in groups
    ]
    assert np.mean(found) == pytest.approx(1 / (1 + c), abs=4 * np.std(found) / 16**0.5)
    # Narrow against the answer of a wrong factor: no tilt, or half of it.
    assert np.std(found) / 16**0.5 < 0.02


def test_a_rare_side_is_found_with_its_probability():
    """Of 160 samples one is beyond 2.5; the energy falls on the way there."""
    def energy(x):
        return 4.0 * np.maximum(2.5 - side(x), 0.0)

    _, groups = steered(energy, 200, 16, 2, moves=3, seed=3)
    normal = np.linspace(-12, 12, 200_001)
    density = np.exp(-0.5 * normal**2 - 4.0 * np.maximum(2.5 - normal, 0.0))
    exact = np.trapezoid(density, normal) / math.sqrt(2 * math.pi)
    assert exact < 0.02
    ratios = np.array([math.exp(log_mean(group.log_weights)) for group in groups]) / exact
    assert ratios.mean() == pytest.approx(1.0, abs=4 * ratios.std() / 16**0.5)
    assert ratios.std() < 0.5
    x = np.concatenate([side(group.positions) for group in groups])
    weights = np.concatenate([np.exp(group.log_weights) for group in groups])
    mean = np.trapezoid(normal * density, normal) / np.trapezoid(density, normal)
    assert np.average(x, weights=weights) == pytest.approx(mean, abs=0.04)


def test_a_wall_leaves_nothing_behind_it():
    def energy(x):
        return np.where(side(x) > 1.0, 0.0, np.inf)

    _, groups = steered(energy, 200, 10, ladder=[1.0], seed=4)
    ratios = np.array([math.exp(log_mean(group.log_weights)) for group in groups])
    assert ratios.mean() == pytest.approx(0.15866, abs=4 * ratios.std() / 10**0.5)
    for group in groups:
        assert (side(group.positions)[np.isfinite(group.log_weights)] > 1.0).all()
        assert len(set(group.ancestors)) < 200
    _, (none,) = steered(lambda x: np.full(len(x), np.inf), 50, 1, ladder=[1.0])
    assert log_mean(none.log_weights) == -np.inf


def test_rungs():
    energies = np.linspace(0, 100, 1000)
    rung = next_rung(energies, 0.2)
    weights = np.exp(-(rung - 0.2) * energies)
    assert weights.sum() ** 2 / np.sum(weights**2) == pytest.approx(500, rel=1e-3)
    assert next_rung(0.01 * energies, 0.0) == 1.0
    assert next_rung(np.where(energies < 30, 0.0, np.inf), 0.0) == 1.0
