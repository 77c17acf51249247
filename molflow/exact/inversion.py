"""Where the flow came from: the start that it carries to a given end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.exact.density import Arrival
from molflow.exact.subspace import helmert
from molflow.maps.denoiser.probability_flow import ProbabilityFlow

#: Steps of the probability flow walked back for a first guess.
_STEPS = 24
#: Calls of the flow on one Jacobian.
_TRIES = 40
#: Jacobians before it is given up.
_JACOBIANS = 3


@dataclass(frozen=True)
class Origin:
    """The starts of given ends.

    Attributes
    ----------
    start : Tensor, (batch, atoms, 3)
    arrival : Arrival
        Of those starts.
    found : Tensor, (batch,) bool
        Whether the flow of the start ends where it should.
    """

    start: Tensor
    arrival: Arrival
    found: Tensor


def origin(
    flow: ProbabilityFlow, arrive: Callable[[Tensor], Arrival], y: Tensor, tolerance: float
) -> Origin:
    """Solve flow(x) = y.

    A first guess is the probability flow of the denoiser walked back in many steps; it differs
    from the flow in few jumps. From there Newton's method with Broyden's updates (1965) of the
    inverse Jacobian, so that most steps cost a call of the flow and no derivative; a step that
    leads further away is halved.

    Parameters
    ----------
    flow : ProbabilityFlow
    arrive : callable
        The flow with its derivative.
    y : Tensor, (batch, atoms, 3)
        Centred.
    tolerance : float
        Largest distance of a coordinate of the end from that of y.
    """
    basis = torch.from_numpy(helmert(y.shape[1])).to(y.device)

    def reduced(x: Tensor) -> Tensor:
        return x.double().flatten(1) @ basis

    def whole(q: Tensor) -> Tensor:
        return (q @ basis.T).unflatten(1, y.shape[1:]).to(y.dtype)

    target, q = reduced(y), reduced(walked_back(flow, y))
    for _ in range(_JACOBIANS):
        arrival = arrive(whole(q))
        rest = reduced(arrival.positions) - target
        if not (rest.abs().amax(1) > tolerance).any():
            break
        inverse = torch.linalg.pinv(arrival.jacobian)
        q = _broyden(lambda at: reduced(flow(whole(at))) - target, q, rest, inverse, tolerance)
    else:
        arrival = arrive(whole(q))
        rest = reduced(arrival.positions) - target
    return Origin(whole(q), arrival, rest.abs().amax(1) <= tolerance)


def walked_back(flow: ProbabilityFlow, y: Tensor) -> Tensor:
    """Return the state at the first time of the denoiser's probability flow that ends at y.

    Heun's method, steps equally long in log σ, for dX/dt = D(X, t) − X.
    """
    flow_map = flow.flow_map
    times = torch.linspace(flow.times[-1], flow.times[0], _STEPS + 1, dtype=torch.float64).tolist()

    def slope(x: Tensor, t: float) -> Tensor:
        time = x.new_full((len(x),), t)
        return flow_map.mean(time, time, x, flow_map.no_features(x)) - x

    x = y
    for t, before in zip(times[:-1], times[1:], strict=True):
        first = slope(x, t)
        guess = x + (before - t) * first
        x = x + 0.5 * (before - t) * (first + slope(guess, before))
    return x


def _broyden(
    residual: Callable[[Tensor], Tensor], q: Tensor, rest: Tensor, inverse: Tensor, tolerance: float
) -> Tensor:
    """Return better q (batch, d) from the inverse Jacobian (batch, d, d) at it."""
    damping = torch.ones(len(q), dtype=q.dtype, device=q.device)
    for _ in range(_TRIES):
        if not (rest.abs().amax(1) > tolerance).any():
            break
        step = -damping.unsqueeze(1) * (inverse @ rest.unsqueeze(2)).squeeze(2)
        new = residual(q + step)
        change = (inverse @ (new - rest).unsqueeze(2)).squeeze(2)
        along = (step * change).sum(1, keepdim=True)
        safe = along.abs() > 1e-8 * step.square().sum(1, keepdim=True)
        update = (step - change) / torch.where(safe, along, torch.ones_like(along))
        row = (step.unsqueeze(1) @ inverse).squeeze(1)
        inverse = inverse + torch.where(safe, update, 0.0).unsqueeze(2) * row.unsqueeze(1)
        better = new.square().sum(1) < rest.square().sum(1)
        q = torch.where(better.unsqueeze(1), q + step, q)
        rest = torch.where(better.unsqueeze(1), new, rest)
        damping = torch.where(better, (2.0 * damping).clamp(max=1.0), 0.5 * damping)
    return q
