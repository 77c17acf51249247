"""The first three coefficients as increment and Levy areas, the variables of other libraries.

    W = W_t - W_s = I^0,
    H = (1/h) int_s^t B_u du = -I^1 / 2,
    K = (1/h^2) int_s^t B_u (h/2 - (u - s)) du = I^2 / 12,   B_u = W_u - W_s - (u - s)/h W,

independent, with variances h, h/12 and h/720 (Foster, Lyons, Oberhauser, SIAM J. Numer. Anal. 58,
1393 (2020)).
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError

_FACTORS = (1.0, -1.0 / 2.0, 1.0 / 12.0)


def levy_areas(increment: Increment) -> Tensor:
    """Return W, H and K, or as many as there are coefficients; (B, *shape, 1 to 3)."""
    coefficients = increment.coefficients[..., : len(_FACTORS)]
    return coefficients * _factors(coefficients)


def increment_from_levy_areas(h: Tensor, areas: Tensor) -> Increment:
    """Return the increment, of as many coefficients as there are areas; inverse of `levy_areas`.

    Parameters
    ----------
    h : Tensor () or (B,)
        Length of the step, not negative.
    areas : Tensor (B, *shape, 1 to 3)
        W, H, K.

    Raises
    ------
    MolflowError
        If the last axis does not hold one to three numbers, or h does not fit.
    """
    if areas.ndim < 2 or not 1 <= areas.shape[-1] <= len(_FACTORS):
        raise MolflowError(
            f"areas have shape {tuple(areas.shape)}: the last axis must hold W, W and H, or W, H "
            "and K, the first the batch."
        )
    return Increment(Basis(areas.shape[-1]), h, areas / _factors(areas))


def _factors(values: Tensor) -> Tensor:
    return torch.tensor(_FACTORS[: values.shape[-1]], dtype=values.dtype, device=values.device)
