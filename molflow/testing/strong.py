"""Strong error on shared Brownian paths, its order, and the semigroup property."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.path import BrownianPath
from molflow.solvers.loop import Step, integrate, uniform_times


def strong_errors(
    step: Step, x: Tensor, path: BrownianPath, steps: Sequence[int], reference: Tensor
) -> list[float]:
    """Return the root-mean-square error at the end of the path for each number of steps.

    Parameters
    ----------
    step : callable
        step(s, t, x, increment) -> X_t.
    x : Tensor (B, *shape)
        State at the start of the path.
    path : BrownianPath
    steps : sequence of int
    reference : Tensor (B, *shape)
        State at the end, exact or from a much finer grid on the same path.
    """
    errors = []
    for count in steps:
        difference = integrate(step, x, path, uniform_times(path, count)) - reference
        errors.append(float(difference.square().mean().sqrt()))
    return errors


def strong_order(errors: Sequence[float], steps: Sequence[int]) -> float:
    """Return the slope of log error on log step length."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def assert_strong_order(
    step: Step,
    x: Tensor,
    path: BrownianPath,
    steps: Sequence[int],
    reference: Tensor,
    expected: float,
    tolerance: float = 0.2,
) -> list[float]:
    """Check the strong order of a scheme and return its errors; arguments of `strong_errors`.

    Raises
    ------
    AssertionError
        If the order differs from `expected` by more than `tolerance`.
    """
    errors = strong_errors(step, x, path, steps, reference)
    order = strong_order(errors, steps)
    listed = ", ".join(f"{n}: {error:.3g}" for n, error in zip(steps, errors, strict=True))
    assert abs(order - expected) <= tolerance, (
        f"The strong order is {order:.2f}, expected {expected:.2f}; errors by steps: {listed}."
    )
    return errors


def semigroup_residual(
    step: Step, x: Tensor, path: BrownianPath, s: float, u: float, t: float
) -> float:
    """Return the RMS of map over [s, t] minus the maps over [s, u] and [u, t], on one path."""
    with torch.no_grad():
        whole = integrate(step, x, path, [s, t])
        parts = integrate(step, x, path, [s, u, t])
    return float((whole - parts).square().mean().sqrt())


def assert_semigroup(
    step: Step,
    x: Tensor,
    path: BrownianPath,
    s: float,
    u: float,
    t: float,
    tolerance: float = 1e-5,
) -> None:
    """Check that one step over [s, t] equals two steps that meet at u, on the same path.

    Raises
    ------
    AssertionError
        If the RMS difference exceeds `tolerance`.
    """
    residual = semigroup_residual(step, x, path, s, u, t)
    assert residual <= tolerance, (
        f"One step from {s} to {t} differs from two that meet at {u} by {residual:.3g} "
        f"(allowed {tolerance:.3g})."
    )
