"""The published parametrisation is that formula."""

import torch
from torch import nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.flow_map.plain import PlainFlowMap
from molflow.sde.double_well import DoubleWell


class Network(nn.Module):
    def forward(self, s, t, x, coefficients):
        weights = torch.arange(1.0, 4.0, dtype=x.dtype)
        return (t - s)[:, None] * x + torch.tanh(coefficients @ weights)


def test_the_published_parametrisation_is_that_formula():
    basis = Basis(3)
    flow_map = PlainFlowMap(Network(), DoubleWell(beta_start=0.1, beta_end=20.0), basis)
    s, t = torch.tensor([0.1, 0.5]).double(), torch.tensor([0.4, 0.6]).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, generator=generator).double()
    z = torch.randn(2, 4, 3, generator=generator).double()
    increment = Increment.from_whitened(basis, t - s, z)
    mean = Network()(s, t, x, increment.coefficients)
    beta = (0.1 + 19.9 * s)[:, None]
    wanted = x + (t - s)[:, None] * mean + beta.sqrt() * increment.increment
    torch.testing.assert_close(flow_map(s, t, x, increment), wanted, atol=1e-12, rtol=0)
