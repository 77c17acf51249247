"""Projections of an exponential kernel on Legendre polynomials, accurate for every step length.

On a step of length h the kernel of F_p is exp(-q (1 - theta)), q = p h, theta in [0, 1]. Its
Legendre coefficients are (2n + 1) exp(-x) i_n(x) with x = q / 2 and i_n the modified spherical
Bessel functions (DLMF 10.54.2 and 18.18.2). They fall like x^n, so what the first coefficients
miss must be summed from its own (positive) terms: a difference would lose every digit.
All results are float64, whatever the dtype of the argument.
"""

from __future__ import annotations

from math import factorial

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.legendre import constant
from molflow.devices import kept_on

#: Terms kept of the tail of the Legendre series; see `tail_limit` for where that is enough.
TAIL_TERMS = 24
#: Beyond this the recurrence for long steps loses digits.
MAX_ORDER_WITH_RATES = 16
_NODES = 96
_RECURRENCE_FROM = 40.0


def tail_limit(order: int) -> float:
    """Return the x below which the tail is summed; above it a plain difference is accurate."""
    return 1.0 + order


def _poisson_table() -> tuple[Tensor, Tensor]:
    """Nodes v and weights W with exp(-x) i_n(x) = x^n (exp(-x v) @ W)_n (Poisson's integral)."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    v = 1.0 - node
    columns = [
        weight * (v * (2.0 - v)) ** n / (2.0 ** (n + 1) * factorial(n))
        for n in range(MAX_ORDER_WITH_RATES + TAIL_TERMS)
    ]
    return constant(v), constant(np.stack(columns, axis=1))


# Made at import: torch.compile follows a cache into numpy.
_POISSON_NODES, _POISSON_WEIGHTS = _poisson_table()


def _reduced(x: Tensor, count: int) -> Tensor:
    """exp(-x) i_n(x) / x^n for 0 <= x <= 40; (..., count)."""
    v, weights = (kept_on(x.device, table) for table in (_POISSON_NODES, _POISSON_WEIGHTS))
    return torch.exp(-x[..., None] * v) @ weights[:, :count]


def _powers(x: Tensor, count: int) -> Tensor:
    """1, x, x^2, ...; (..., count). Products, so that the derivative at x = 0 is right too."""
    powers = [torch.ones_like(x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    return torch.stack(powers, dim=-1)


def scaled_bessel(x: Tensor, count: int) -> Tensor:
    """Return exp(-x) i_n(x), n = 0..count-1, for x >= 0 of any shape; (..., count) float64."""
    x = x.double()
    low = x.clamp(max=_RECURRENCE_FROM)
    small = _reduced(low, count) * _powers(low, count)
    high = x.clamp(min=_RECURRENCE_FROM)
    decay = torch.exp(-2.0 * high)
    terms = [(1.0 - decay) / (2.0 * high)]
    terms.append((1.0 + decay) / (2.0 * high) - terms[0] / high)
    for n in range(1, count - 1):
        terms.append(terms[n - 1] - (2 * n + 1) / high * terms[n])
    large = torch.stack(terms[:count], dim=-1)
    return torch.where((x < _RECURRENCE_FROM)[..., None], small, large)


def projection(q: Tensor, order: int) -> Tensor:
    """Return c_n with F_p = sum_{n < order} c_n I^n + residual; q = p h; (..., order) float64."""
    odd = 2.0 * torch.arange(order, dtype=torch.float64, device=q.device) + 1.0
    return odd * scaled_bessel(q / 2, order)


def tail(q: Tensor, order: int) -> Tensor:
    """Return c_n / x^order, n = order..order+TAIL_TERMS-1, at x = min(q/2, `tail_limit`).

    Positive and of order one down to q = 0; (..., TAIL_TERMS) float64.
    """
    x = (q.double() / 2).clamp(max=tail_limit(order))
    n = torch.arange(order, order + TAIL_TERMS, dtype=torch.float64, device=q.device)
    return (2.0 * n + 1.0) * _reduced(x, order + TAIL_TERMS)[..., order:] * _powers(x, TAIL_TERMS)


def residual_factor(q: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Return (c, T), T lower triangular: residuals of the exponentials = sqrt(h) c T z.

    c = x^order at x = min(q/2, `tail_limit`) carries the size, so T is of order one down to
    q = 0.

    Parameters
    ----------
    q : Tensor (..., P)
        Rates times the step length.
    order : int
        The number of Legendre coefficients already accounted for.

    Returns
    -------
    c : Tensor (..., P) float64
    T : Tensor (..., P, P) float64
        One rate: full relative accuracy. With more, the residuals become parallel as q goes to
        0, and the relative error of the later rows grows like 1e-16 / q^2.
    """
    count = q.shape[-1]
    q = q.double()
    n = torch.arange(order, order + TAIL_TERMS, dtype=torch.float64, device=q.device)
    scale = (q / 2).clamp(max=tail_limit(order)) ** order
    rows = tail(q, order) / torch.sqrt(2.0 * n + 1.0)
    summed = rows @ rows.mT
    total = q[..., :, None] + q[..., None, :]
    seen = projection(q, order) / torch.sqrt(
        2.0 * torch.arange(order, dtype=torch.float64, device=q.device) + 1.0
    )
    # Clamped where the sum is used instead, so that the unused branch stays finite.
    above = total.clamp(min=tail_limit(order))
    scales = scale[..., :, None] * scale[..., None, :]
    difference = -torch.expm1(-above) / above - seen @ seen.mT
    near = torch.maximum(q[..., :, None], q[..., None, :]) < 2 * tail_limit(order)
    gram = torch.where(near, summed, difference / torch.where(near, 1.0, scales))
    return scale, _cholesky(gram, count)


def _cholesky(gram: Tensor, count: int) -> Tensor:
    """Cholesky factor written out: one to three rates, and no synchronisation on a GPU."""
    eps = torch.finfo(gram.dtype).eps
    factor: list[list[Tensor]] = []
    for i in range(count):
        row: list[Tensor] = []
        for j in range(i):
            rest = gram[..., i, j] - sum(row[k] * factor[j][k] for k in range(j))
            row.append(rest / factor[j][j])
        pivot = gram[..., i, i] - sum(value * value for value in row)
        row.append(torch.sqrt(torch.maximum(pivot, eps * gram[..., i, i])))
        factor.append(row)
    zero = torch.zeros_like(gram[..., 0, 0])
    rows = [torch.stack(row + [zero] * (count - len(row)), dim=-1) for row in factor]
    return torch.stack(rows, dim=-2)
