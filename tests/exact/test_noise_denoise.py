"""Noise and denoising as Metropolis moves: reversible at η = 1 alone, by quadrature and chains."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from molflow.errors import MolflowError
from molflow.exact.noise_denoise import NoiseDenoise
from molflow.exact.subspace import helmert
from molflow.flow_map.base import FlowMap
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.sde.reverse_diffusion import ReverseDiffusion

SHARES, MEANS, WIDTHS = np.array([0.75, 0.25]), np.array([-1.0, 1.5]), np.array([0.35, 0.6])
LEVEL = 1.0


def energy_of(q):
    """Draws towards the rare component."""
    return -q


def kernels(size=500):
    """Return the line, the law, and the proposals' matrices at η = 1 and η = 0, by quadrature.

    In one dimension the probability flow is the monotone map between the laws with noise.
    """
    x = np.linspace(-4.5, 6.0, size)
    law = (SHARES * norm.pdf(x[:, None], MEANS, WIDTHS)).sum(1)
    law /= law.sum()
    y = np.linspace(-4.5 - 5 * LEVEL, 6.0 + 5 * LEVEL, 3 * size)
    noised = norm.pdf(y, x[:, None], LEVEL)
    noised /= noised.sum(1, keepdims=True)
    smooth = law @ noised
    ancestral = noised @ (noised * law[:, None] / smooth).T
    ends, starts = np.cumsum(law), np.cumsum(law) - law
    high, low = np.cumsum(smooth), np.cumsum(smooth) - smooth
    common = np.minimum(high[:, None], ends) - np.maximum(low[:, None], starts)
    common = np.clip(common, 0.0, None)
    flow = noised @ (common / np.maximum(common.sum(1, keepdims=True), 1e-300))
    return x, law, ancestral, flow


def law_of_chain(x, proposal):
    energy = energy_of(x)
    chain = proposal * np.minimum(1.0, np.exp(energy[:, None] - energy))
    np.fill_diagonal(chain, 0.0)
    np.fill_diagonal(chain, 1.0 - chain.sum(1))
    law = np.full(len(x), 1.0 / len(x))
    for _ in range(12):
        chain = chain @ chain
    return law @ chain


def test_the_energy_alone_decides_at_eta_1_and_not_at_eta_0():
    x, law, ancestral, flow = kernels()
    tilted = law * np.exp(-energy_of(x))
    tilted /= tilted.sum()
    assert np.abs(law_of_chain(x, ancestral) - tilted).sum() / 2 < 1e-9
    assert np.abs(law_of_chain(x, flow) - tilted).sum() / 2 == pytest.approx(0.027, abs=0.002)
    # Without an energy both leave the law as it is, and nothing could be seen.
    for proposal in (ancestral, flow):
        assert np.abs(law @ proposal - law).sum() / 2 < 1e-4


class Exact(FlowMap):
    """One jump to the end: a draw from p(x | y), or the monotone map between the laws.

    Two atoms, and the mixture along one direction, the others of unit width and left alone. The
    posterior of a mixture is a mixture: one feature chooses the component, another the place.
    """

    def __init__(self, eta):
        super().__init__()
        self.sde = ReverseDiffusion(10.0, 1e-4, eta)
        self.basis = self.sde.basis(2)
        self.direction = torch.from_numpy(helmert(2)[:, 0]).reshape(2, 3)
        self.ancestral = eta == 1.0

    def mean(self, s, t, x, whitened):
        raise NotImplementedError

    def forward(self, s, t, x, increment):
        y = self.place(x)
        z = increment.whitened()
        q = self.posterior(y, self.place(z[..., 0]), self.place(z[..., 1]))
        if not self.ancestral:
            q = self.flow(y)
        return torch.from_numpy(q)[:, None, None] * self.direction

    def place(self, x):
        return (x * self.direction).sum((1, 2)).numpy()

    def posterior(self, y, first, second):
        total = WIDTHS**2 + LEVEL**2
        parts = SHARES * norm.pdf(y[:, None], MEANS, np.sqrt(total))
        rare = norm.cdf(first) < (parts[:, 1] / parts.sum(1))
        centre, variance = MEANS + WIDTHS**2 / total * (y[:, None] - MEANS), WIDTHS**2 / total
        width = LEVEL * np.sqrt(variance)
        return np.where(rare, centre[:, 1] + width[1] * second, centre[:, 0] + width[0] * second)

    def flow(self, y):
        def below(x, noise):
            return (SHARES * norm.cdf(x[:, None], MEANS, np.sqrt(WIDTHS**2 + noise**2))).sum(1)

        line = np.linspace(-6, 8, 20_001)
        return np.interp(below(y, LEVEL), below(line, 0.0), line)


def chain_share(eta, inside, moves=24, n=12_000, seed=0):
    """Share of the time that Metropolis moves are in a set, and its error.

    They begin at the tilted law: exp(q) N(m, w²) is exp(m + w²/2) N(m + w², w²).
    """
    flow_map = Exact(1.0)
    start = float(flow_map.sde.time(LEVEL))
    chain = NoiseDenoise(
        flow_map, [start, flow_map.sde.duration], lambda x: energy_of(flow_map.place(x))
    )
    flow_map.ancestral = eta == 1.0  # past the refusal
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    shares = SHARES * np.exp(MEANS + WIDTHS**2 / 2)
    which = rng.choice(2, size=n, p=shares / shares.sum())
    q = rng.normal((MEANS + WIDTHS**2)[which], WIDTHS[which])
    x = torch.from_numpy(q)[:, None, None] * flow_map.direction
    energies, found = energy_of(q), []
    for move in range(moves):
        x, energies, _ = chain.move(x, energies, generator)
        if move >= moves // 2:
            found.append(inside(flow_map.place(x)))
    means = np.mean(found, axis=0)
    return means.mean(), means.std() / n**0.5


def test_chains_of_maps_end_where_quadrature_says():
    x, law, ancestral, flow = kernels()
    right, wrong = law_of_chain(x, ancestral), law_of_chain(x, flow)

    def inside(places):
        return np.interp(places, x, right - wrong) > 0

    wanted = [part[inside(x)].sum() for part in (right, wrong)]
    assert wanted[0] - wanted[1] > 0.025
    for eta, exact in zip((1.0, 0.0), wanted, strict=True):
        share, error = chain_share(eta, inside)
        assert error < 0.003
        assert share == pytest.approx(exact, abs=4 * error)


def test_other_maps_are_refused():
    sde = ReverseDiffusion(10.0, 0.01, 0.25)
    flow_map = FrozenFlowMap(lambda t, x: x, sde, sde.basis(1))
    with pytest.raises(MolflowError, match="eta 0.25, and noising"):
        NoiseDenoise(flow_map, [0.0, sde.duration], lambda x: np.zeros(len(x)))
