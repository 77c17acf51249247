"""The one loop along a Brownian path: step after step, whatever makes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from molflow.brownian.increment import Increment

#: (s, t, x, increment) -> state at t, for times that are tensors of shape ().
Step = Callable[[Tensor, Tensor, Tensor, Increment], Tensor]
#: (s, t, x, increment) -> state at t, for times that are numbers.
TimedStep = Callable[[float, float, Tensor, Increment], Tensor]


class Path(Protocol):
    """Anything that hands out increments of one Brownian path, as `BrownianPath` does."""

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from s to t."""


def walk(step: TimedStep, x: Tensor, path: Path, times: Sequence[float]) -> Iterator[Tensor]:
    """Yield the state at each of times[1:].

    Times are numbers on the processor and increments come to where the states are, so that no step
    waits for another device.

    Parameters
    ----------
    step : callable
    x : Tensor, (batch, *shape)
        State at times[0].
    path : BrownianPath, or anything that hands out increments as it does
    times : sequence of float
        Increasing.
    """
    for s, t in pairwise(times):
        x = step(s, t, x, path.increment(s, t))
        yield x


def timed(step: Step) -> TimedStep:
    """Return a step of numbers from one of tensors of shape (), in the dtype of the states."""

    def found(s: float, t: float, x: Tensor, increment: Increment) -> Tensor:
        first, last = (torch.full((), end, dtype=x.dtype, device=x.device) for end in (s, t))
        return step(first, last, x, increment)

    return found


def end_of(states: Iterator[Tensor]) -> Tensor:
    """Return the last of the states of a walk of one step at least."""
    return deque(states, maxlen=1).pop()
