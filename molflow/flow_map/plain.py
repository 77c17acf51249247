"""The published parametrisation of strong maps, to compare with: without lift or whitening."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.sde.base import AdditiveSDE, over_batch, time_tensor


class PlainEquation(AdditiveSDE):
    """An equation of which n is the whole drift: X_t = x + h n + g(s) I^0 in a step."""

    def __init__(self, sde: AdditiveSDE):
        self.sde = sde

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a = 0, b = 1 and g."""
        one = torch.ones_like(t)
        return 0.0 * one, one, self.sde.rates(t)[2]

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(time_tensor(t) - time_tensor(s))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        """Return h."""
        return time_tensor(t) - time_tensor(s)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        """Return g(s) I^0."""
        return self.noise(time_tensor(s), increment.increment)


class PlainFlowMap(FlowMap):
    """Flow map whose network returns the mean drift and sees the coefficients I^n as they are.

    As strong stochastic flow maps were published (arXiv 2606.01086).

    Parameters
    ----------
    network : nn.Module
        ``(s, t, x, coefficients) -> (B, *shape)`` with coefficients (B, *shape, order).
    sde : AdditiveSDE
    basis : Basis
        Without rates.
    """

    def __init__(self, network: nn.Module, sde: AdditiveSDE, basis: Basis):
        super().__init__()
        self.network, self.sde, self.basis = network, PlainEquation(sde), basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return the mean drift of the step."""
        n = torch.arange(self.basis.order, device=x.device)
        widths = torch.sqrt(over_batch(t - s, whitened) / (2.0 * n + 1.0))
        return self.network(s, t, x, widths * whitened)
