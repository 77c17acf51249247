"""From the start of the clock to its end in a few jumps along one Brownian path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.brownian.walk import Path, end_of, timed, walk
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre


class SnappingPath(Path, Protocol):
    """A path, or several asked as one, that knows only some times."""

    def snap(self, t: float) -> float:
        """Return the nearest time that the path knows."""


def rollout(flow_map: FlowMap, x: Tensor, path: SnappingPath, times: Sequence[float]) -> Tensor:
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
    return end_of(walk(timed(partial(jump, flow_map)), x, path, times))


def jump(flow_map: FlowMap, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
    """Return the states at t, (), from x at s along a path whose centre of mass is dropped."""
    first, last = (end.expand(len(x)) for end in (s, t))
    return flow_map(first, last, x, centre_increment(increment))


def centre_increment(increment: Increment) -> Increment:
    """Project every Brownian vector onto the subspace of zero mean over atoms.

    Parameters
    ----------
    increment : Increment
        Features of shape (batch, atoms, 3, size).
    """
    z = centre(increment.whitened().movedim(-1, 1)).movedim(1, -1)
    return increment.with_whitened(z)
