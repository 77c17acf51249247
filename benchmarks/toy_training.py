"""Small strong maps in one and two dimensions: network, training, walks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

import molflow
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.objectives.matching import direct_residual


class StepNetwork(nn.Module):
    """A multilayer perceptron of both times, the state and the coefficients.

    Parameters
    ----------
    describe : callable
        (s, t, x) -> (B, described), what it sees of both times, (B,), and of the state.
    described, dimension : int
        Numbers in that, and of the state.
    features : int
        Numbers per component that describe the Brownian path of the step.
    width, layers : int
    """

    def __init__(
        self, describe: Callable[[Tensor, Tensor, Tensor], Tensor], described: int, dimension: int,
        features: int, width: int, layers: int,
    ):  # fmt: skip
        super().__init__()
        self.describe = describe
        sizes = [described + dimension * features, *[width] * layers]
        hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, dimension))

    def forward(self, s: Tensor, t: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """Return (B, dimension) for s, t (B,), x (B, dimension), z (B, dimension, features)."""
        return self.layers(torch.cat([self.describe(s, t, x), z.flatten(1)], dim=-1))


def published_residual(
    flow_map: FlowMap, teacher: FlowMap, s: Tensor, u: Tensor, t: Tensor, x: Tensor,
    left: Increment, right: Increment, whole: Increment | None = None,
) -> Tensor:  # fmt: skip
    """Return the residuals of one step against two of the teacher, at their ends, (B,)."""
    with torch.no_grad():
        end = teacher(u, t, teacher(s, u, x, left), right)
    return direct_residual(flow_map, s, t, x, whole or join(left, right), end)


#: (map, average of it, share of the training that is done) -> residuals (B,).
Objective = Callable[[FlowMap, FlowMap, float], Tensor]


def train(
    flow_map: FlowMap, objective: Objective, steps: int, memory: float
) -> tuple[FlowMap, float]:
    """Return the average of the weights of a trained map, and the processor seconds it took.

    A step keeps up to `memory` of the average.
    """

    def batches(epoch: molflow.Epoch) -> Iterator[float]:
        return ((epoch.first + k) / steps for k in range(epoch.count))

    settings = molflow.Optimisation(
        steps=steps, steps_per_epoch=min(steps, 1000), learning_rate=2e-3,
        learning_rate_decay=steps, ema_decay=memory, teacher_decay=memory, gradient_clip=10.0,
    )  # fmt: skip
    start = time.process_time()
    average = molflow.fit(flow_map, objective, batches, settings, device="cpu")
    return average, time.process_time() - start


def walk(
    jump: Callable[..., Tensor], x: Tensor, times: Tensor, path: list[Increment]
) -> Iterator[Tensor]:
    """Yield the states after each step of a path.

    Parameters
    ----------
    jump : callable
        jump(s, t, x, increment) -> X_t with s, t (paths,).
    x : Tensor, (paths, dimension)
        At the first time.
    times : Tensor
        A grid that is as fine as the path or finer.
    path : list of Increment
    """
    ends = times[:: (len(times) - 1) // len(path)]
    for s, t, increment in zip(ends[:-1], ends[1:], path, strict=True):
        x = jump(s.repeat(len(x)), t.repeat(len(x)), x, increment)
        yield x
