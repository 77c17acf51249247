"""Small flow maps with random weights, and linear ones whose exact answer is known."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from molflow.brownian.increment import Increment
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.nn.dense_attention import DenseAttention
from molflow.nn.graph import MolecularGraph
from molflow.sde.reverse_diffusion import ReverseDiffusion

GRAPH = MolecularGraph(
    elements=(6, 1, 7, 8, 6),
    residues=("ACE",) * 5,
    names=tuple(f"ACE1-{name}" for name in ("C", "H", "N", "O", "CA")),
    bonds=((0, 1), (0, 2), (2, 3), (3, 4)),
)
SIZES = {"scalars": 16, "vectors": 8, "heads": 2, "layers": 2, "pair_width": 8}
SDE = ReverseDiffusion(10.0, 0.002)


def random_network(inputs: int, graph=GRAPH, sizes=SIZES, seed=0) -> DenseAttention:
    """Return a network in float32 whose last layer, zero at initialisation, is random too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DenseAttention(graph, inputs, SDE.duration, **sizes)
        nn.init.normal_(network.last, std=0.3)
    return network


def random_map(graph=GRAPH, sizes=SIZES, order=3, seed=0) -> DenoiserFlowMap:
    """Return a flow map in float32 with random weights."""
    return DenoiserFlowMap(random_network(SDE.basis(order).size, graph, sizes, seed), SDE, order)


class ByFormula(nn.Module):
    """A network that returns exactly what makes the mean denoiser equal to a formula.

    Parameters
    ----------
    mean : callable
        (s, t, x, whitened) -> mean denoiser, of the shapes of `DenoiserFlowMap.mean`.
    """

    def __init__(self, mean):
        super().__init__()
        self.mean = mean
        self.factor = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, positions, noise, s, t):
        sigma = SDE.sigma(s).reshape(-1, 1, 1)
        scale = torch.rsqrt(1.0 + sigma**2)
        visible = torch.sqrt(-torch.expm1(-2.0 * (t - s))).reshape(-1, 1, 1, 1)
        z = noise / torch.where(visible > 0, visible, 1.0)
        x = positions / scale
        mean = self.factor.to(x.dtype) * self.mean(s, t, x, z)
        return (mean - scale**2 * x) / (sigma * scale)


def half_denoiser_map(order=2, perturbation=0.0) -> DenoiserFlowMap:
    """Return the exact solution map of the equation whose denoiser is D(x) = x / 2.

    dX = 2 (D - X) dt + sqrt(2) sigma dW = -X dt + sqrt(2) sigma dW has the solution
    X_t = exp(-h) x + sqrt(2) int exp(-(t - u)) sigma(u) dW_u, and sigma(u) = sigma(t) exp(t - u):
    the integral is sqrt(2) sigma(t) I^0, a feature, so no path is averaged over.
    """
    basis = SDE.basis(order)

    def mean(s, t, x, z):
        h = t - s
        increment = Increment.from_whitened(basis, h, z)
        e, length = torch.exp(-h).reshape(-1, 1, 1), h.reshape(-1, 1, 1)
        difference = increment.increment - increment.exponentials[..., 0]
        moved = (e - e**2) * x + math.sqrt(2.0) * SDE.sigma(t).reshape(-1, 1, 1) * difference
        return torch.where(length > 0, moved / torch.where(length > 0, 1.0 - e**2, 1.0), 0.5 * x)

    network = ByFormula(mean)
    network.factor.data += perturbation
    return DenoiserFlowMap(network, SDE, order)


def gaussian_map(width: float, order=2) -> DenoiserFlowMap:
    """Return E[X_t | x, features] for data N(0, width^2) on every coordinate, by quadrature.

    With v = width^2 + sigma^2 the denoiser is width^2 x / v, and
    X_t = (v_t / v_s) x + int (v_t / v_u) sqrt(2) sigma_u dW_u.
    """
    basis = SDE.basis(order)
    node, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(64))
    node, weight = 0.5 * (node + 1.0), 0.5 * weight
    legendre = torch.from_numpy(np.polynomial.legendre.legvander(2 * node.numpy() - 1, order - 1))

    def variance(t):
        return width**2 + SDE.sigma(t) ** 2

    def mean(s, t, x, z):
        dtype = x.dtype
        s, t, x, z = s.double(), t.double(), x.double(), z.double()
        h = t - s
        u = s[:, None] + h[:, None] * node
        kernel = (variance(t)[:, None] / variance(u)) * math.sqrt(2.0) * SDE.sigma(u)
        measure = kernel * weight * h[:, None]
        with_legendre = measure @ legendre
        with_exponential = (measure * torch.exp(-(t[:, None] - u))).sum(1, keepdim=True)
        covariance = torch.cat([with_legendre, with_exponential], dim=1)
        factor = basis.cholesky(torch.where(h > 0, h, 1.0))
        known = torch.linalg.solve_triangular(factor, covariance[..., None], upper=False)[..., 0]
        martingale = math.sqrt(2.0) * SDE.sigma(t)[:, None] * factor[:, -1]
        noise = torch.einsum("baik,bk->bai", z, known - martingale)
        lift = SDE.lift(s, t)
        pull = (variance(t) / variance(s) - lift).reshape(-1, 1, 1)
        some = (h > 0).reshape(-1, 1, 1)
        whole = (pull * x + noise) / torch.where(some, (1.0 - lift).reshape(-1, 1, 1), 1.0)
        at_once = width**2 / variance(s).reshape(-1, 1, 1) * x
        return torch.where(some, whole, at_once).to(dtype)

    return DenoiserFlowMap(ByFormula(mean), SDE, order)


def state(batch: int, atoms: int, features: int, seed: int, dtype=torch.float64):
    """Return centred x (batch, atoms, 3) and centred whitened features with one axis more."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, atoms, 3, generator=generator, dtype=dtype)
    z = torch.randn(batch, atoms, 3, features, generator=generator, dtype=dtype)
    return x - x.mean(1, keepdim=True), z - z.mean(1, keepdim=True)
