import math

import pytest
import torch
from toy_maps import SDE, ByFormula, gaussian_map

from molflow.flow_map.centring import centre
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.norm import residual

WIDTH, ATOMS, COUNT = 0.5, 5, 8000


def residual_of(flow_map, sigma):
    """Mean residual on Gaussian data of standard deviation WIDTH at one noise level."""
    generator = torch.Generator().manual_seed(0)
    clean, normal = centre(torch.randn(2, COUNT, ATOMS, 3, generator=generator).double())
    clean = WIDTH * clean
    s = SDE.time(torch.full((COUNT,), sigma, dtype=torch.float64))
    noisy = noised(clean, SDE.sigma(s), normal)
    with torch.no_grad():
        return float(matching_residual(flow_map, s, noisy, clean).mean())


@pytest.mark.parametrize("sigma", [0.03, 0.4, 3.0])
def test_the_exact_denoiser_leaves_the_posterior_variance(sigma):
    posterior = WIDTH**2 * sigma**2 / (WIDTH**2 + sigma**2)
    # One of ATOMS coordinates is fixed by the centre; the residual is in units of c_out^2.
    expected = posterior * (ATOMS - 1) / ATOMS * (1 + sigma**2) / sigma**2
    deviations = math.sqrt(2 / (COUNT * 3 * (ATOMS - 1)))
    assert residual_of(gaussian_map(WIDTH), sigma) == pytest.approx(expected, rel=4 * deviations)


@pytest.mark.parametrize("sigma", [0.03, 0.4, 3.0])
def test_every_other_linear_denoiser_leaves_more(sigma):
    best = residual_of(gaussian_map(WIDTH), sigma)
    optimum = WIDTH**2 / (WIDTH**2 + sigma**2)
    for change in (-0.1, 0.1):
        network = ByFormula(lambda s, t, x, z, change=change: (1 + change) * optimum * x)
        worse = residual_of(DenoiserFlowMap(network, SDE, 2), sigma)
        # Pythagoras: what is added is the mean square change of the denoiser.
        square = (change * optimum) ** 2 * (WIDTH**2 + sigma**2) * (ATOMS - 1) / ATOMS
        added = square * (1 + sigma**2) / sigma**2
        assert worse - best == pytest.approx(added, rel=0.4)


def test_residual_is_per_molecule_in_units_of_the_preconditioner():
    error = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 0.0, 3.0]], [[1.0, 1.0, 1.0]] * 2]).double()
    s = SDE.time(torch.tensor([2.0, 0.5]).double())
    measure = residual(gaussian_map(1.0), s, error, torch.zeros_like(error))
    assert measure.tolist() == pytest.approx([3.0 * 5.0 / 4.0, 1.0 * 1.25 / 0.25], rel=1e-12)
