"""What an objective says of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from molflow.flow_map.base import FlowMap


@dataclass(frozen=True)
class Residuals:
    """Squared errors of some steps, and which parts of an objective they belong to.

    Attributes
    ----------
    values : Tensor, (B,)
    s, t : Tensor, (B,), optional
        Ends of the steps on the clock of the learned weight of the loss; not needed without one.
    parts : dict of str to int
        Names of parts of the objective and how many values each has, in their order; for the
        record of a run.
    watched : dict of str to (Tensor, int)
        Other numbers for the record: a mean, and of how many.
    """

    values: Tensor
    s: Tensor | None = None
    t: Tensor | None = None
    parts: dict[str, int] = field(default_factory=dict)
    watched: dict[str, tuple[Tensor, int]] = field(default_factory=dict)


#: (map, average of its weights, batch) -> residuals (B,) of the map. Where it has a state or
#: weights of its own it is a `torch.nn.Module`. The average passes no gradient.
Objective = Callable[[FlowMap, FlowMap, Any], "Residuals | list[Residuals] | Tensor"]


def residuals_of(found: Residuals | list[Residuals] | Tensor) -> list[Residuals]:
    """Return what an objective returned as a list."""
    several = found if isinstance(found, list) else [found]
    return [Residuals(one) if isinstance(one, Tensor) else one for one in several]
