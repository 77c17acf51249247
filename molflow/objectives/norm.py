"""How an error of the learned mean is measured."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from molflow.devices import upload
from molflow.flow_map.base import FlowMap
from molflow.flow_map.step import check_like

#: (error, predicted), both (B, *shape), and the start s (B,) of the step -> (B,).
Norm = Callable[[Tensor, Tensor, Tensor], Tensor]


def mean_square(error: Tensor, predicted: Tensor, s: Tensor) -> Tensor:
    """Return the mean over components of error^2, shape (B,)."""
    return error.flatten(1).square().mean(dim=1)


def residual(
    flow_map: FlowMap, s: Tensor, predicted: Tensor, target: Tensor, norm: Norm = mean_square
) -> Tensor:
    """Return the norm of predicted − target in units of `FlowMap.unit` squared, (B,)."""
    check_like("The target", target, predicted)
    unit = upload(flow_map.unit(s), predicted.device)
    return norm(predicted - target, predicted, s) / unit.square()
