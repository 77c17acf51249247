"""The equation itself as a flow map: n kept at its value where the step begins."""

from __future__ import annotations

from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.flow_map.base import FlowMap
from molflow.sde.base import AdditiveSDE, Nonlinear


class FrozenFlowMap(FlowMap):
    """Flow map of one exponential Euler step, right for short steps only.

    Parameters
    ----------
    nonlinear : callable
        n(t, X), exact or a trained model's.
    sde : AdditiveSDE
    basis : Basis
    """

    def __init__(self, nonlinear: Nonlinear, sde: AdditiveSDE, basis: Basis):
        super().__init__()
        self.nonlinear, self.sde, self.basis = nonlinear, sde, basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        return self.nonlinear(s, x)
