"""The objectives of long steps that a training can choose by name."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.objectives.families import FAMILIES
from molflow.objectives.norm import Norm
from molflow.registry import Registry
from molflow.sde.base import Nonlinear


class LongSteps(Protocol):
    """What `molflow train` asks of an objective of long steps; `Family` is one.

    Attributes
    ----------
    teacher : {"none", "self", "average", "frozen"}
        See `molflow.objectives.families.Family`.
    needs : frozenset of str
        What a kind of map has to offer, of `molflow.objectives.families.NEEDS`.
    derivatives : bool
        Whether it differentiates the network by its inputs, which a compiled one does not support.
    """

    @property
    def teacher(self) -> str: ...
    @property
    def needs(self) -> frozenset[str]: ...
    @property
    def derivatives(self) -> bool: ...

    def times(
        self, s: Tensor, t: Tensor, last: float, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return where steps drawn as [s, t] are divided, and where they end, all (B,)."""

    def residual(
        self,
        flow_map: FlowMap,
        teacher: FlowMap | None,
        nonlinear: Nonlinear | None,
        s: Tensor,
        u: Tensor,
        t: Tensor,
        x: Tensor,
        left: Increment,
        right: Increment,
        norm: Norm,
    ) -> Tensor:
        """Return the residual, (B,); see `Family.residual`."""


OBJECTIVES: Registry[LongSteps] = Registry("objective", "molflow.objectives", {})
for _name, _family in FAMILIES.items():
    OBJECTIVES.register(_name, _family)
