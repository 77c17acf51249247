"""The strong flow map of any equation, with any network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.flow_map.base import FlowMap
from molflow.sde.base import AdditiveSDE, over_batch


class LiftedFlowMap(FlowMap):
    """Flow map whose network returns n̄ as it is.

    Parameters
    ----------
    network : nn.Module
        ``(s, t, x, z) -> (B, *shape)`` with s and t always (B,), and z (B, *shape, features) the
        whitened features times sqrt(1 - exp(-2 h)): none of them when the step has no length.
    sde : AdditiveSDE
    basis : Basis
    """

    def __init__(self, network: nn.Module, sde: AdditiveSDE, basis: Basis):
        super().__init__()
        self.network, self.sde, self.basis = network, sde, basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        visible = over_batch(torch.sqrt(-torch.expm1(-2.0 * (t - s))), whitened)
        return self.network(s.expand(len(x)), t.expand(len(x)), x, visible * whitened)
