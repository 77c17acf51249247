"""Linearised jumps: exact on a Gaussian, weights and hops between wells of known shares."""

import math

import numpy as np
import pytest
import torch
from toy_maps import SDE, gaussian_map

from molflow.analysis.weighting import effective_size, normalised
from molflow.errors import MolflowError
from molflow.exact.density import log_normal
from molflow.exact.linearised import LinearisedChain
from molflow.exact.subspace import helmert
from molflow.flow_map.base import FlowMap
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.reverse_diffusion import ReverseDiffusion

WIDTH, ATOMS = 0.4, 3
DIRECTION = torch.from_numpy(helmert(2)[:, 0]).reshape(2, 3)


def gaussian_chain(order, steps=3):
    variance = WIDTH**2 + SDE.sigma_min**2
    times = np.linspace(float(SDE.time(3.0)), SDE.duration, steps + 1)
    return LinearisedChain(
        gaussian_map(WIDTH, order), times, lambda x: -log_normal(x, variance).numpy()
    )


def test_of_a_gaussian_the_kernel_is_the_posterior():
    """N(0, w²) with noise σ_s, seen from y: the state with noise σ_t is Gaussian in closed form."""
    chain = gaussian_chain(6)
    x = torch.randn(5, ATOMS, 3, generator=torch.Generator().manual_seed(0)).double()
    x = x - x.mean(1, keepdim=True)
    law = chain.kernel(1, x)
    s, t = chain.sigmas[1] ** 2, chain.sigmas[2] ** 2
    shrunk = (WIDTH**2 + t) / (WIDTH**2 + s)
    assert torch.allclose(law.mean, shrunk * x.flatten(1) @ law.basis, atol=1e-6)
    variance = shrunk * (s - t)
    exact = math.sqrt(variance) * torch.eye(6, dtype=torch.float64).expand(5, 6, 6)
    assert torch.allclose(law.factor, exact, rtol=0.01, atol=1e-6)
    y = law.draw(torch.Generator().manual_seed(1))
    assert y.mean(1).abs().max() < 1e-12
    dense = torch.distributions.MultivariateNormal(law.mean, scale_tril=law.factor)
    assert torch.allclose(law.log_density(y), dense.log_prob(y.flatten(1) @ law.basis))


class Wells(FlowMap):
    """The solution along the path of its coefficients, for unequal wells along one direction."""

    def __init__(self, order=3, substeps=8):
        super().__init__()
        self.sde = ReverseDiffusion(10.0, 0.01, 1.0)
        self.basis, self.order, self.substeps = self.sde.basis(order), order, substeps
        means = torch.tensor([-1.0, 1.5]).double()[:, None, None] * DIRECTION
        widths = torch.full((2,), 0.35, dtype=torch.float64)
        self.law = GaussianMixture(means, widths, torch.tensor([0.75, 0.25]).double())

    def mean(self, s, t, x, whitened):
        raise NotImplementedError

    def forward(self, s, t, x, increment):
        h = float(t[0] - s[0]) / self.substeps
        z = increment.whitened()
        lift, half = math.exp(-2 * h), math.exp(-h)
        odd = torch.sqrt((2 * torch.arange(self.order) + 1.0).double() / (h * self.substeps))
        for step in range(self.substeps):
            place = np.array([2 * (step + 0.5) / self.substeps - 1])
            rates = odd * torch.from_numpy(
                np.polynomial.legendre.legvander(place, self.order - 1)[0]
            )
            sigma = self.sde.sigma(s + (step + 0.5) * h)
            kick = math.sqrt(2.0) * sigma[0] * h * (z[..., : self.order] * rates).sum(-1)
            start = self.law.denoise(x, self.sde.sigma(s + step * h))
            middle = half * x + (1 - half) * start + kick / 2
            x = lift * x + (1 - lift) * self.law.denoise(middle, sigma) + kick
        return x

    def place(self, x):
        return (x * DIRECTION).sum((1, 2)).numpy()

    def energy(self, x):
        """-ln p in the centred subspace, of three dimensions."""
        parts = [
            math.log(share) + log_normal(x - at * DIRECTION, 0.35**2 + 0.01**2)
            for share, at in ((0.75, -1.0), (0.25, 1.5))
        ]
        return -torch.logsumexp(torch.stack(parts), 0).numpy()


@pytest.fixture(scope="module")
def wells():
    return Wells()


def test_weights_of_a_chain_know_the_shares(wells):
    sde = wells.sde
    chain = LinearisedChain(wells, np.linspace(0.0, sde.duration, 9), wells.energy)
    x, log_weights = chain.sample(1500, 2, 0.35**2 + 1.25**2 + 100.0, torch.Generator())
    weights = normalised(log_weights)
    right = wells.place(x) > 0.25
    share = weights[right].sum()
    error = np.sqrt(np.sum((weights * (right - share)) ** 2))
    assert share == pytest.approx(0.25, abs=4 * error) and error < 0.03
    assert effective_size(1500, weights) > 0.3 * 1500


def test_of_a_gaussian_all_moves_are_accepted_and_all_weights_are_one():
    """The map is exact, and its start has the law that it comes from."""
    chain, generator = gaussian_chain(6), torch.Generator().manual_seed(3)
    width = math.sqrt(WIDTH**2 + SDE.sigma_min**2)
    noise = torch.randn(300, ATOMS, 3, generator=generator, dtype=torch.float64)
    moved, accepted = chain.move(width * (noise - noise.mean(1, keepdim=True)), generator)
    assert accepted == 1.0
    assert float(moved.square().sum((1, 2)).mean()) == pytest.approx(6 * width**2, rel=0.15)
    _, log_weights = chain.sample(300, ATOMS, WIDTH**2 + 9.0, generator)
    assert np.abs(log_weights).max() < 1e-3


def test_moves_hop_between_wells_and_leave_their_law_as_it_is(wells):
    generator, n = torch.Generator().manual_seed(4), 2000
    right = torch.rand(n, generator=generator, dtype=torch.float64) < 0.25
    noise = torch.randn(n, 2, 3, generator=generator, dtype=torch.float64)
    x = torch.where(right, 1.5, -1.0)[:, None, None] * DIRECTION
    x = x + math.sqrt(0.35**2 + 0.01**2) * (noise - noise.mean(1, keepdim=True))
    chain = LinearisedChain(wells, np.linspace(0.0, wells.sde.duration, 5), wells.energy)
    moved, accepted = chain.move(x, generator)
    before, after = wells.place(x), wells.place(moved)
    assert ((before > 0.25) != (after > 0.25)).mean() > 0.05 and 0.2 < accepted < 0.8
    changes = {
        "share": (after > 0.25).astype(float) - (before > 0.25),
        "spread": after**2 - before**2,
        "energy": wells.energy(moved) - wells.energy(x),
    }
    for name, change in changes.items():
        assert abs(change.mean()) < 4 * change.std() / math.sqrt(n), name


def test_a_map_without_spread_is_refused():
    flow_map = gaussian_map(WIDTH, 2)
    flow_map.sde = ReverseDiffusion(10.0, 0.01, 0.0)
    with pytest.raises(MolflowError, match="eta above 0"):
        LinearisedChain(flow_map, [0.0, 1.0], lambda x: np.zeros(len(x)))
