"""The same path walked backward."""

from __future__ import annotations

from molflow.brownian.increment import Increment
from molflow.brownian.legendre import alternating
from molflow.errors import MolflowError


def reverse(increment: Increment) -> Increment:
    """Return the increment of the path walked from t to s, which is again Brownian.

    With v = t - u the path is W_{t-v} - W_t; because P_n is even or odd like n, its coefficients
    are (-1)^(n+1) I^n. Reversing twice changes nothing, and
    `reverse(join(left, right))` is `join(reverse(right), reverse(left))`.

    Parameters
    ----------
    increment : Increment
        Of a basis without rates: walked backward, exp(-p (t - u)) becomes exp(-p (u - s)), which
        is no combination of the kernels of the basis.

    Raises
    ------
    MolflowError
        If the basis has rates.
    """
    basis = increment.basis
    if basis.rates:
        raise MolflowError(
            f"The increment has {basis}: exponential features weigh the end of the step most and "
            "do not say what a path does backward. Reverse an increment without rates."
        )
    z = increment.whitened()
    signs = -alternating(basis.order, z.device).to(z.dtype)
    return Increment.from_whitened(basis, increment.h, signs * z)
