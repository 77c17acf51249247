"""What a step must be before a map or an objective is asked about it.

Shapes are always looked at, values on the CPU only: an accelerator would have to be waited for.
Compiled code is trusted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE


def check_times(s: Tensor, t: Tensor, x: Tensor) -> None:
    """Raise `MolflowError` unless s and t are both () or both (B,) for x of shape (B, *shape)."""
    if s.shape != t.shape or s.shape not in (torch.Size(), x.shape[:1]):
        raise MolflowError(
            f"s has shape {tuple(s.shape)} and t {tuple(t.shape)} for states of shape "
            f"{tuple(x.shape)}: give one time for all, or one for each member of the batch."
        )


def check_like(name: str, value: Tensor, x: Tensor) -> None:
    """Raise `MolflowError` unless what is called `name` has the shape of x."""
    if value.shape != x.shape:
        raise MolflowError(
            f"{name} has shape {tuple(value.shape)}: give the shape of the state, {tuple(x.shape)}."
        )


def check_step(
    sde: AdditiveSDE, basis: Basis, s: Tensor, t: Tensor, x: Tensor, increment: Increment
) -> None:
    """Raise `MolflowError` unless times, states and increment belong together."""
    if torch.compiler.is_compiling():
        return
    check_times(s, t, x)
    if increment.basis != basis:
        raise MolflowError(f"The increment has {increment.basis}, but the map takes {basis}.")
    if couples(sde):
        return  # whose increments have a shape of their own
    check_like("The increment of the path", increment.increment, x)


def check_long_step(
    sde: AdditiveSDE,
    basis: Basis,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
    by_gain: bool = True,
) -> None:
    """Raise as `check_step` does, and unless s < t and the increment is as long.

    With `by_gain`, for objectives that divide by the gain, also unless it is a factor.
    """
    if torch.compiler.is_compiling():
        return
    if by_gain and couples(sde):
        raise MolflowError(
            f"The lift and the gain of {type(sde).__name__} are matrices, but this objective "
            "divides by the gain: give an equation in which they are factors."
        )
    check_step(sde, basis, s, t, x, increment)
    if s.device.type != "cpu":
        return
    h = t - s
    rounding = 1e-4 * h + 8.0 * torch.finfo(s.dtype).eps * (s.abs() + t.abs())
    apart = (h - increment.h).abs()
    if bool(((h > 0) & (apart <= rounding)).all()):
        return
    if not bool((h > 0).all()):
        raise MolflowError(
            f"The shortest step has length {float(h.min()):.3g}: s must come before t. What the "
            "map does at s = t is taught by `matching_residual`."
        )
    raise MolflowError(
        f"The length of an increment differs from t - s by {float(apart.max()):.3g}: give the "
        "increment of the path over the step itself."
    )


def couples(sde: AdditiveSDE) -> bool:
    """Return whether lift and gain are matrices, which `apply` then has to know."""
    return type(sde).apply is not AdditiveSDE.apply
