"""The loop over a grid of times, driven by one Brownian path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from molflow.brownian.path import BrownianPath
from molflow.brownian.walk import Step, end_of, timed, walk
from molflow.errors import MolflowError


def uniform_times(path: BrownianPath, steps: int) -> list[float]:
    """Return the steps + 1 times of a uniform grid over the whole path, on the path's grid."""
    if not 1 <= steps <= 2**path.depth:
        raise MolflowError(
            f"steps is {steps}: a path of depth {path.depth} has room for 1 to {2**path.depth}."
        )
    span = path.t1 - path.t0
    return [path.snap(path.t0 + span * k / steps) for k in range(steps + 1)]


def integrate(step: Step, x: Tensor, path: BrownianPath, times: Sequence[float]) -> Tensor:
    """Walk from times[0] to times[-1] and return the last state.

    Parameters
    ----------
    step : callable
        step(s, t, x, increment) -> X_t, with s and t tensors of shape () in the dtype of x;
        any scheme of this package with its equation filled in, or a flow map.
    x : Tensor (B, *shape)
        State at times[0].
    path : BrownianPath
        Gives the increments, so two grids can be walked on the same noise.
    times : sequence of float
        Increasing, inside the path. They are snapped to the path's grid.
    """
    return end_of(trajectory(step, x, path, times))


def trajectory(
    step: Step, x: Tensor, path: BrownianPath, times: Sequence[float]
) -> Iterator[Tensor]:
    """Yield the state at each of times[1:]; arguments as for `integrate`."""
    if len(times) < 2:
        raise MolflowError(f"There are {len(times)} times: give the two ends of a step at least.")
    return walk(timed(step), x, path, [path.snap(time) for time in times])
