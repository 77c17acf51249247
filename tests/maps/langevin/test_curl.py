"""The share of the curl in a learned force, against all derivatives and closed forms."""

from dataclasses import replace

import pytest
import torch
from langevin_maps import BONDED, SCALES, random_dynamics
from torch import nn
from torch.autograd.functional import jacobian

from molflow.flow_map.centring import centre
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.curl import curl_share

#: How positions of atoms become forces: antisymmetric, and blind to a shift of all atoms.
_ODD = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()
_ODD = centre(centre((_ODD - _ODD.mT)[..., None])[..., 0].mT[..., None])[..., 0]


class Stated(nn.Module):
    """A network whose force is so much of the gradient of Σ r⁴ over pairs, and of a curl."""

    def __init__(self, gradient, curl):
        super().__init__()
        self.gradient, self.curl = gradient, nn.Parameter(torch.tensor(curl).double())

    def forward(self, positions, vectors, s, t):
        apart = positions[:, None] - positions[:, :, None]
        pull = self.gradient * (apart * apart.square().sum(-1, keepdim=True)).sum(2)
        force = pull + self.curl * torch.einsum("ij,bjx->bix", _ODD, positions)
        sizes = torch.tensor(SCALES.forces).double()[:, None]
        out = positions.new_zeros(*positions.shape, BondedLangevinFlowMap.outputs)
        return torch.cat([(force / sizes).unsqueeze(-1), out[..., 1:]], dim=-1)


def stated(gradient, curl):
    return BondedLangevinFlowMap(Stated(gradient, curl), replace(SCALES, bonded=BONDED), 3).double()


def frames(batch=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, batch, 5, 3, generator=generator, dtype=torch.float64) * 0.1


def test_it_is_what_all_derivatives_say():
    flow_map, (x, d) = random_dynamics("bonded"), frames()
    sizes = torch.tensor(SCALES.forces).double().repeat_interleave(3)
    for found, at, moved in zip(curl_share(flow_map, x, d).detach(), x, d, strict=True):
        full = jacobian(lambda y: flow_map.rest_force(y[None])[0].flatten(), at).flatten(1)
        odd = 0.5 * (full - full.mT) @ moved.flatten() / sizes
        whole = full @ moved.flatten() / sizes
        assert float(found) == pytest.approx(float(odd.norm() ** 2 / whole.norm() ** 2), rel=1e-9)
        assert float(found) > 0.01


def test_a_gradient_has_none_and_an_antisymmetric_force_nothing_else():
    none, all_of_it = (curl_share(stated(*parts), *frames()) for parts in ((1.0, 0.0), (0.0, 7.0)))
    assert none.max().item() < 1e-20 and torch.allclose(all_of_it, torch.ones(3).double())


def test_the_force_of_an_energy_is_where_it_is_least():
    slopes = []
    for curl in (0.0, 0.5):
        flow_map = stated(1.0, curl)
        curl_share(flow_map, *frames()).mean().backward()
        slopes.append(float(flow_map.network.curl.grad))
    assert abs(slopes[0]) < 1e-12 and slopes[1] > 1e-4


def test_it_does_not_run_compiled_code():
    flow_map, given = random_dynamics("bonded"), frames()
    expected = curl_share(flow_map, *given)
    flow_map.network.compile(backend="aot_eager")
    found = curl_share(flow_map, *given)
    found.mean().backward()
    assert torch.allclose(found, expected)
    assert flow_map.network.last.grad.abs().max() > 0.0
