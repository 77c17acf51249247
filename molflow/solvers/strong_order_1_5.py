"""A Runge-Kutta scheme of strong order 1.5 for additive noise."""

from __future__ import annotations

from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, Nonlinear, over_batch


def strong_order_1_5_step(
    sde: AdditiveSDE,
    nonlinear: Nonlinear,
    s: Tensor,
    t: Tensor,
    x: Tensor,
    increment: Increment,
) -> Tensor:
    r"""Return X_t by two evaluations of the drift; x is (B, *shape), nonlinear(s, x) gives n.

    With J = ∫ (t − u) dW_u / h = (I⁰ − I¹)/2,

        y = x + (3/4) h f(s, x) + (3/2) g(t) J,
        X_t = x + h [f(s, x) + 2 f(s + 3h/4, y)]/3 + g(t) I⁰ + (g(s) − g(t)) J

    (Rößler, SIAM J. Numer. Anal. 48, 922 (2010), scheme SRA1). The increment needs two
    coefficients.
    """
    if increment.basis.order < 2:
        raise MolflowError(
            f"The increment has {increment.basis}: strong order 1.5 needs I^0 and I^1, so an "
            "order of 2 at least."
        )
    h = over_batch(increment.h, x)
    whole = increment.increment
    mean = 0.5 * (whole - increment.coefficients[..., 1])
    noise = sde.noise(t, whole - mean) + sde.noise(s, mean)
    slope = sde.drift(s, x, nonlinear(s, x))
    y = x + 0.75 * h * slope + 1.5 * sde.noise(t, mean)
    later = s + 0.75 * (t - s)
    slope = (slope + 2.0 * sde.drift(later, y, nonlinear(later, y))) / 3.0
    return x + h * slope + noise
