"""How the features change when an end of the step moves along a fixed polynomial path.

The path is the one of degree N that has the coefficients I^0..I^{N-1}: its derivative is
w(u) = sum_n (2n + 1)/h I^n P_n(2 (u - s)/h - 1). All functions need h > 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.increment import Increment, apply_matrix
from molflow.brownian.legendre import alternating


def path_rate_at_start(increment: Increment) -> Tensor:
    """Return w(s) = sum_m (2m + 1) (-1)^m I^m / h; (B, *shape)."""
    return _weighted(increment, _signs(increment))


def path_rate_at_end(increment: Increment) -> Tensor:
    """Return w(t) = sum_m (2m + 1) I^m / h; (B, *shape)."""
    return _weighted(increment, torch.ones_like(_signs(increment)))


def features_by_start(increment: Increment) -> Tensor:
    """Return the derivative of the features with respect to s; (B, *shape, size).

    h dI^n/ds = -(n + 1) I^n - sum_{m>n} (-1)^(n+m) (2m + 1) I^m, dF_p/ds = -exp(-p h) w(s).
    """
    n, later = _later(increment)
    signs = _signs(increment)
    matrix = -torch.diag(n + 1.0) - signs[:, None] * signs * later
    rate = path_rate_at_start(increment)[..., None]
    decay = torch.exp(-increment.basis.scaled_steps(increment.h))
    return _assemble(increment, matrix, -_expand(increment, decay) * rate)


def features_by_end(increment: Increment) -> Tensor:
    """Return the derivative of the features with respect to t; (B, *shape, size).

    h dI^n/dt = (n + 1) I^n + sum_{m>n} (2m + 1) I^m, dF_p/dt = -p F_p + w(t).
    """
    n, later = _later(increment)
    rates = torch.tensor(increment.basis.rates, dtype=n.dtype, device=n.device)
    rate = path_rate_at_end(increment)[..., None]
    return _assemble(
        increment, torch.diag(n + 1.0) + later, rate - rates * increment.exponentials
    )


def _later(increment: Increment) -> tuple[Tensor, Tensor]:
    """n and the matrix with 2m + 1 where m > n."""
    features = increment.features
    n = torch.arange(increment.basis.order, dtype=features.dtype, device=features.device)
    return n, torch.triu((2.0 * n + 1.0).expand(len(n), len(n)), diagonal=1)


def _expand(increment: Increment, values: Tensor) -> Tensor:
    values = values.to(increment.features.dtype)
    if increment.h.ndim == 0:
        return values
    middle = [1] * (increment.features.ndim - 2)
    return values.reshape(values.shape[0], *middle, *values.shape[1:])


def _assemble(increment: Increment, matrix: Tensor, exponentials: Tensor) -> Tensor:
    h = _expand(increment, increment.h[..., None])
    return torch.cat([apply_matrix(matrix, increment.coefficients) / h, exponentials], dim=-1)


def _signs(increment: Increment) -> Tensor:
    features = increment.features
    return alternating(increment.basis.order, features.device).to(features.dtype)


def _weighted(increment: Increment, signs: Tensor) -> Tensor:
    n, _ = _later(increment)
    h = _expand(increment, increment.h[..., None])[..., 0]
    return (increment.coefficients @ ((2.0 * n + 1.0) * signs)) / h
