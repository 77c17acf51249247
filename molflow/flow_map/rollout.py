"""From the start of the clock to its end in a few jumps along one Brownian path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre


class Path(Protocol):
    """Anything that hands out increments of one Brownian path, as `BrownianPath` does."""

    def snap(self, t: float) -> float:
        """Return the nearest time that the path knows."""

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from s to t."""


def rollout(flow_map: FlowMap, x: Tensor, path: Path, times: Sequence[float]) -> Tensor:
    """Jump along the times, one network call each.

    Parameters
    ----------
    flow_map : FlowMap
    x : Tensor, (batch, atoms, 3)
        State at ``times[0]``.
    path : BrownianPath, or several asked as one
        Of shape (batch, atoms, 3); its centre-of-mass part is dropped here.
    times : sequence of float
        Increasing times on the clock of the SDE; snapped to the path's grid.

    Returns
    -------
    Tensor, (batch, atoms, 3)
    """
    times = [path.snap(time) for time in times]
    for s, t in zip(times[:-1], times[1:], strict=True):
        increment = centre_increment(path.increment(s, t))
        ends = torch.tensor([s, t], dtype=x.dtype, device=x.device).unsqueeze(1).expand(2, len(x))
        x = flow_map(ends[0], ends[1], x, increment)
    return x


def centre_increment(increment: Increment) -> Increment:
    """Project every Brownian vector onto the subspace of zero mean over atoms.

    Parameters
    ----------
    increment : Increment
        Features of shape (batch, atoms, 3, size).
    """
    z = centre(increment.whitened().movedim(-1, 1)).movedim(1, -1)
    return Increment.from_whitened(increment.basis, increment.h, z)
