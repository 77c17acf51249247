"""Residual noise on springs: temperatures come back to what they are without coefficients."""

import math

import numpy as np
import torch
from harmonic_map import MASS, PERIOD, REST, SYSTEM, HarmonicMap, thermal_state

from molflow.maps.langevin.residual_fit import by_friction
from molflow.maps.langevin.residual_noise import (
    ResidualNoise,
    frame_neighbours,
    in_frames,
    local_frames,
)
from molflow.nn.graph import MolecularGraph
from molflow.propagation.motion import Motion
from molflow.propagation.paths import ChainPaths, ChainResiduals

LAG = 0.02


def missing(flow_map):
    """Covariance of what N coefficients leave out of a step of one mode, in thermal widths.

    All of the noise in closed form, Σ − E Σ Eᵀ with Σ the thermal covariance, less what is seen.
    """
    mode, basis = flow_map.mode, flow_map.basis
    lift, seen = mode.lift(LAG), mode.projection(LAG, flow_map.order)
    seen = seen * basis.legendre_scales(torch.tensor(LAG, dtype=torch.float64))
    thermal = torch.diag(torch.tensor([mode.frequency**-2, 1.0], dtype=torch.float64))
    return thermal - lift @ thermal @ lift.mT - seen @ seen.mT


def learned(flow_map, count=4000):
    """Residual noise of the moments of drawn residuals, as the fit takes them."""
    root = torch.linalg.cholesky(missing(flow_map)) * flow_map.width
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(count, len(REST), 3, 2, generator=generator, dtype=torch.float64)
    off = (normal @ root.mT).movedim(-1, 1)
    off = off - off.mean(dim=2, keepdim=True)
    neighbours = frame_neighbours(MolecularGraph.from_topology(SYSTEM.topology()))
    ends = thermal_state(flow_map, count, seed=1)[:, 0]
    local = in_frames(off, local_frames(ends, neighbours))
    moments = (local.T @ local / count)[None].repeat(2, 1, 1)
    counts, frictions = torch.tensor([count] * 2), torch.tensor([5.0, 5.0]).double()
    by_map, by_noise = (part[None] for part in by_friction(moments, counts, frictions))
    masses = torch.full((len(REST),), MASS, dtype=torch.float64)
    return ResidualNoise(LAG, by_map, by_noise, neighbours, masses, flow_map.temperature)


def temperatures(flow_map, residuals, chains=24, steps=130):
    """T_x/T and T_v/T of all motions but that of the centre, and their statistical errors."""
    paths = ChainPaths(flow_map.basis, chains, len(REST), seed=4)
    motion, found = Motion(flow_map, residuals=residuals), []
    x = thermal_state(flow_map, chains)
    for k in range(steps):
        x = motion.walk(x, paths, k * LAG, LAG, 1)
        away = x[:, 0] - REST
        away = away - away.mean(dim=1, keepdim=True)
        moving = x[:, 1] - x[:, 1].mean(dim=1, keepdim=True)
        sizes = torch.tensor([flow_map.mode.frequency, 1.0]) / flow_map.width
        pairs = zip(sizes, (away, moving), strict=True)
        squares = [(size * part).square().sum((1, 2)) / 63 for size, part in pairs]
        if k >= 50:
            found.append(torch.stack(squares, dim=1))
    mean = torch.stack(found).mean(0)
    return mean.mean(0).numpy(), mean.std(0).numpy() / math.sqrt(chains)


def test_a_fast_mode_gets_its_temperature_back():
    flow_map = HarmonicMap(order=3, friction=5.0)
    assert LAG == PERIOD
    law = flow_map.mode.temperatures(LAG, 3)
    assert min(law) < 0.7
    cold, error = temperatures(flow_map, None)
    assert np.abs(cold - law).max() < 4.0 * error.max() < 0.1
    residuals = ChainResiduals(learned(flow_map), 300.0, 5.0, seed=7)
    warm, error = temperatures(flow_map, residuals)
    assert np.abs(warm - 1.0).max() < 4.0 * error.max() < 0.1


def test_noise_follows_from_seed_and_time():
    flow_map = HarmonicMap()
    noise, x = learned(flow_map, 500), thermal_state(flow_map, 6)
    first = ChainResiduals(noise, 300.0, 5.0, seed=7)
    one = first.added(1.0, LAG, x)
    other = ChainResiduals(noise, 300.0, 5.0, seed=7)
    other.added(0.5, LAG, x)
    assert torch.equal(other.added(1.0, 1.0 + LAG - 1.0, x), one)
    # Products of matrices are rounded by their size, which differs between processors.
    assert torch.allclose(other.added(1.0, LAG, x[:2]), one[:2], rtol=1e-12, atol=1e-13)
    assert not torch.allclose(other.added(1.0 + LAG, LAG, x), one)
    assert not torch.allclose(ChainResiduals(noise, 300.0, 5.0, seed=8).added(1.0, LAG, x), one)


def test_parts_of_the_map_and_of_the_noise_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
    frictions = torch.tensor([0.2, 1.0, 3.0, 9.0]).double()
    moments = a + frictions[:, None, None] * b
    found = by_friction(moments, torch.tensor([50, 100, 100, 20]), frictions)
    assert torch.allclose(found[0], a, atol=1e-10) and torch.allclose(found[1], b, atol=1e-10)
    alone = by_friction(moments[:1], torch.tensor([50]), frictions[:1])
    assert torch.allclose(alone[0], moments[0]) and not alone[1].any()


