"""Densities of flows: determinants by another way, and a Gaussian in 63 dimensions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from toy_maps import SDE, gaussian_map, random_map, state

from molflow.exact.density import arrive, log_normal
from molflow.exact.subspace import helmert
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean

WIDTH = 0.5


def test_basis_of_the_centred_subspace():
    basis = helmert(6)
    assert np.allclose(basis.T @ basis, np.eye(15), atol=1e-14)
    assert np.allclose(basis.reshape(6, 3, 15).sum(0), 0.0, atol=1e-14)


@pytest.mark.parametrize("chunk", [None, 4])
def test_determinant_against_the_whole_jacobian(chunk):
    flow_map = random_map().double()
    flow, mean = ProbabilityFlow(flow_map, [1.0, 3.0]), TangentMean(flow_map)
    x = 3.0 * state(2, 5, 1, 0)[0]
    arrival = arrive(lambda rows: flow.rows(rows, mean), x, chunk)
    basis = torch.from_numpy(helmert(5))
    for k in range(2):

        def reduced(q):
            return flow((basis @ q).reshape(1, 5, 3)).flatten() @ basis

        jacobian = torch.autograd.functional.jacobian(reduced, x[k].flatten() @ basis)
        sign, size = torch.linalg.slogdet(jacobian)
        assert arrival.log_determinant[k].item() == pytest.approx(size.item(), abs=1e-9)
        assert arrival.sign[k] == sign
    assert torch.allclose(arrival.positions, flow(x), atol=1e-12)


def test_a_fold_is_seen():
    x = state(2, 4, 1, 0)[0]
    # x -> −x turns with x, and keeps or reverses the sense of a space of odd dimension.
    assert (arrive(lambda rows: -rows, x).sign == -1).all()
    assert (arrive(lambda rows: 2.0 * rows, x).sign == 1).all()


def test_density_of_a_gaussian_in_63_dimensions():
    """Every jump multiplies by a number, so that the density is a Gaussian of known width."""
    flow_map = gaussian_map(WIDTH)
    times = flow_times(flow_map, 4, 0.12)
    flow, mean = ProbabilityFlow(flow_map, times), TangentMean(flow_map)
    generator = torch.Generator().manual_seed(3)
    start = math.sqrt(WIDTH**2 + SDE.sigma_max**2)
    x = torch.randn(4, 22, 3, generator=generator, dtype=torch.float64)
    x = start * (x - x.mean(1, keepdim=True))
    arrival = arrive(lambda rows: flow.rows(rows, mean), x)
    log_q = log_normal(x, start**2) - arrival.log_determinant
    probe = state(1, 22, 1, 0)[0]
    factor = (flow(probe) / probe).mean().item()
    wanted = log_normal(arrival.positions, (factor * start) ** 2)
    assert (log_q - wanted).abs().max() < 1e-10
    by_hand = norm(scale=factor * start).logpdf(
        arrival.positions.detach().flatten(1).numpy() @ helmert(22)
    )
    assert np.abs(by_hand.sum(1) - wanted.detach().numpy()).max() < 1e-10


def test_effective_size_of_a_gaussian_in_63_dimensions():
    """N(0, b²) as proposal of N(0, a²): ESS/n is 1/∫ p²/q, in closed form."""
    flow_map = gaussian_map(WIDTH)
    flow = ProbabilityFlow(flow_map, flow_times(flow_map, 12, 0.5))
    probe = state(1, 22, 1, 0)[0]
    start = math.sqrt(WIDTH**2 + SDE.sigma_max**2)
    wide = (flow(probe) / probe).mean().item() * start
    narrow = math.sqrt(WIDTH**2 + 0.5**2)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4000, 22, 3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        y = flow(start * (x - x.mean(1, keepdim=True)))
    log_weights = log_normal(y, narrow**2) - log_normal(y, wide**2)
    weights = log_weights.exp()
    # ∫ p²/q of one dimension: with r = wide/narrow it is r² / sqrt(2 r² − 1).
    ratio = wide / narrow
    wanted = (math.sqrt(2 * ratio**2 - 1) / ratio**2) ** 63
    assert weights.mean().item() == pytest.approx(1.0, abs=5 / math.sqrt(4000 * wanted))
    found = weights.sum() ** 2 / weights.square().sum() / len(weights)
    assert 0.2 < wanted < 0.999
    assert found.item() == pytest.approx(wanted, rel=0.06)
