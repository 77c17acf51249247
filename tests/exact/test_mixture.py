"""A mixture with unequal weights from a flow that believes them equal."""

import math

import numpy as np
import pytest
import torch
from toy_maps import SDE, ByFormula, state

from molflow.analysis.weighting import effective_size, normalised
from molflow.exact.density import arrive, log_normal
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.reverse_diffusion import ReverseDiffusion

ATOMS, STOP, COUNT = 4, 0.12, 3000
WIDTHS = (0.3, 1.0)
SIZE = 3 * (ATOMS - 1)


def log_mixture(x, shares, sigma):
    """ln of the density of centred states with noise; both components turn into themselves."""
    parts = [
        math.log(share) + log_normal(x, width**2 + sigma**2)
        for share, width in zip(shares, WIDTHS, strict=True)
    ]
    return torch.logsumexp(torch.stack(parts), dim=0)


def flow_of_equal_shares(steps):
    """The flow of a map whose D̄ is the mixture's denoiser at the start of a jump."""
    law = GaussianMixture(
        torch.zeros(2, SIZE, dtype=torch.float64),
        torch.tensor(WIDTHS, dtype=torch.float64),
        torch.tensor([0.5, 0.5], dtype=torch.float64),
    )

    def mean(s, t, x, z):
        # The mixture lives in the centred subspace; its denoiser is a number times x.
        squares = x.square().flatten(1).sum(1)
        like = torch.zeros(len(x), SIZE, dtype=x.dtype)
        like = torch.cat([squares.sqrt().unsqueeze(1), like[:, 1:]], dim=1)
        factor = law.denoise(like, SDE.sigma(s))[:, 0] / squares.sqrt()
        return factor.reshape(-1, 1, 1) * x

    sde = ReverseDiffusion(SDE.sigma_max, SDE.sigma_min, 0.25)
    flow_map = DenoiserFlowMap(ByFormula(mean), sde, 2)
    return ProbabilityFlow(flow_map, flow_times(flow_map, steps, STOP)), TangentMean(flow_map)


@pytest.fixture(scope="module")
def drawn():
    flow, mean = flow_of_equal_shares(24)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(COUNT, ATOMS, 3, generator=generator, dtype=torch.float64)
    x = math.sqrt(1 + SDE.sigma_max**2) * (x - x.mean(1, keepdim=True))
    with torch.no_grad():
        arrival = arrive(lambda rows: flow.rows(rows, mean), x)
    return arrival, log_normal(x, 1 + SDE.sigma_max**2) - arrival.log_determinant


def share_of_narrow(y, weights):
    narrow = log_mixture(y, (0.5, 1e-300), STOP) > log_mixture(y, (1e-300, 0.5), STOP)
    return narrow.numpy(), float(np.sum(weights * narrow.numpy()))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.1])
def test_weights_recover_the_shares(drawn, share):
    arrival, log_q = drawn
    log_p = log_mixture(arrival.positions, (share, 1 - share), STOP)
    log_weights = (log_p - log_q).numpy()
    weights = normalised(log_weights)
    narrow, found = share_of_narrow(arrival.positions, weights)
    # 9 dimensions tell components apart but for some per cent, which the weights cannot blur.
    generator = torch.Generator().manual_seed(6)
    exact = torch.randn(200_000, ATOMS, 3, generator=generator, dtype=torch.float64)
    exact = exact - exact.mean(1, keepdim=True)
    wanted = sum(
        part * np.mean(share_of_narrow(exact * math.sqrt(width**2 + STOP**2), 1.0)[0])
        for part, width in zip((share, 1 - share), WIDTHS, strict=True)
    )
    error = np.sqrt(np.sum((weights * (narrow - found)) ** 2))
    assert abs(found - wanted) < 3.5 * error + 0.002
    assert error < 0.02
    # Without weights the flow's own share comes out, near a half.
    assert abs(np.mean(narrow) - 0.5) < 0.08
    assert np.exp(log_weights).mean() == pytest.approx(
        1.0, abs=4 * np.exp(log_weights).std() / COUNT**0.5
    )
    assert effective_size(COUNT, weights) < COUNT


def test_states_are_centred():
    flow, _ = flow_of_equal_shares(2)
    y = flow(10 * state(2, ATOMS, 1, 0)[0])
    assert y.mean(1).abs().max() < 1e-12
