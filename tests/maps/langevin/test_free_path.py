"""The free velocity from the features of a step: exact relations, and a path walked finely."""

import math

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.maps.langevin.free_path import free_velocity

GAMMA, SIGMA, H = 3.0, 1.7, 0.5


def coefficients(increment, velocity, longest=H):
    matrix = free_velocity(increment.basis, increment.h, longest)
    z = SIGMA * increment.whitened()
    return torch.cat([velocity[..., None], z], dim=-1) @ matrix.mT


def path(order, seed=0, shape=(4, 3)):
    return BrownianPath(Basis(order, (GAMMA,)), 0.0, H, shape, seed, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 3, 8])
def test_the_equation_of_motion_holds_for_every_moment(order):
    """∫ P_n dw = −γ ∫ P_n w du + σ Iⁿ, integrated by parts: N relations for c_0 .. c_(N−1)."""
    increment = path(order).increment(0.0, H)
    start = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()
    c = coefficients(increment, start)
    end = math.exp(-GAMMA * H) * start + SIGMA * increment.exponentials[..., 0]
    moments = c / (2.0 * torch.arange(order + 2) + 1.0)
    for n in range(order):
        # P_n' = 2 sum (2k + 1) P_k over k = n - 1, n - 3, ...
        inner = sum((2.0 * c[..., k] for k in range(n - 1, -1, -2)), torch.zeros_like(start))
        left = end - (-1) ** n * start - inner
        right = -GAMMA * H * moments[..., n] + SIGMA * increment.coefficients[..., n]
        assert (left - right).abs().max() < 1e-12


@pytest.mark.parametrize("q", [0.3, 1.5, 6.0])
def test_what_is_not_known_exactly_is_projected(q):
    """c_n = ∫ K_n dW with K_n = (2n + 1) ∫ P_n e^(−γ(u−r)) du, against kernels made orthonormal."""
    order, h = 3, 0.2
    gamma = q / h
    node, weight = np.polynomial.legendre.leggauss(80)
    node, weight = 0.5 + 0.5 * node, 0.5 * weight
    features = np.stack([np.polynomial.legendre.Legendre.basis(n)(2 * node - 1) for n in range(3)])
    features = np.concatenate([features, np.exp(-q * (1 - node))[None]])
    orthogonal, triangle = np.linalg.qr((features * np.sqrt(weight)).T)
    orthogonal = orthogonal * np.sign(np.diag(triangle))
    found = free_velocity(Basis(order, (gamma,)), torch.tensor(h, dtype=torch.float64), h)
    for n in range(order + 2):
        legendre = np.polynomial.legendre.Legendre.basis(n)
        # The inner integral over u from r to the end of the step.
        inner = node[:, None] + (1 - node[:, None]) * node
        values = legendre(2 * inner - 1) * np.exp(-q * (inner - node[:, None]))
        kernel = (2 * n + 1) * (1 - node) * (values @ weight)
        expected = math.sqrt(h) * (kernel * np.sqrt(weight)) @ orthogonal
        assert np.abs(found[n, 1:].numpy() - expected).max() < 1e-11
        decay = (2 * n + 1) * np.sum(weight * legendre(2 * node - 1) * np.exp(-q * node))
        assert float(found[n, 0]) == pytest.approx(decay, abs=1e-13)


def test_a_path_that_is_walked_finely():
    """w and its moments on 2^11 short steps, each exact: the mean over a step is σE₂ and drift."""
    order, steps = 4, 2**11
    walk = path(order, seed=3)
    velocity = start = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)).double()
    d = H / steps
    slowed = -math.expm1(-GAMMA * d) / GAMMA
    moments = torch.zeros(order, 4, 3).double()
    for k in range(steps):
        part = walk.increment(k * d, (k + 1) * d)
        noise = part.exponentials[..., 0]
        travelled = slowed * velocity + SIGMA * (part.increment - noise) / GAMMA
        legendre = np.polynomial.legendre.legvander((2 * k + 1) / steps - 1, order - 1)
        moments += torch.from_numpy(legendre).reshape(order, 1, 1) * travelled / H
        velocity = math.exp(-GAMMA * d) * velocity + SIGMA * noise
    c = coefficients(walk.increment(0.0, H), start)
    expected = moments.movedim(0, -1) * (2.0 * torch.arange(order) + 1.0)
    assert (c[..., :order] - expected).abs().max() < 3e-4
    assert expected.abs().max() > 0.5


def test_nothing_of_start_and_increment_is_lost():
    for q in (1e-3, 0.1, 4.0):
        matrix = free_velocity(Basis(8, (q,)), torch.tensor(1.0).double(), 1.0)
        size = matrix.square().sum(-1, keepdim=True).sqrt()
        assert torch.linalg.matrix_rank(matrix / size, rtol=1e-4 * min(q, 1.0)) == 10


def test_short_steps_keep_their_digits():
    """On a step short against the friction time the noise is an integrated Brownian path."""
    h = torch.tensor([1e-9, 1e-6, 1e-3]).double()
    noise = free_velocity(Basis(2, (1.0,)), h, 1.0)[..., 1:] / h.sqrt()[:, None, None]
    # W_u - W_s = z_0 sqrt(h) θ + ... : c_0 and c_1 hold half of I^0 each, as θ = (1 + P_1)/2.
    assert torch.allclose(noise[:, 0, 0], torch.full((3,), 0.5).double(), rtol=1e-3)
    assert torch.allclose(noise[:2], noise[:1].expand(2, -1, -1), atol=1e-5)


def test_too_much_friction_is_a_sentence():
    with pytest.raises(MolflowError, match="friction times lag is 20"):
        free_velocity(Basis(2, (100.0,)), torch.tensor(0.1).double(), 0.2)
    with pytest.raises(MolflowError, match="the one rate of the friction"):
        free_velocity(Basis(2), torch.tensor(0.1).double(), 0.2)
