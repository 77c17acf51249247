"""Shifted Legendre polynomials P_n(2 theta - 1) and how they restrict to a part of a step."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import factorial

import numpy as np
import torch
from torch import Tensor

from molflow.devices import kept_on
from molflow.errors import MolflowError

#: The largest number of coefficients of a basis.
MAX_ORDER = 32


def constant(array: np.ndarray) -> Tensor:
    """Return a table that can be used in training even if first imported in inference mode."""
    with torch.inference_mode(False):
        return torch.tensor(array, dtype=torch.float64)


def alternating(count: int, device: torch.device) -> Tensor:
    """Return 1, -1, 1, ...; (count,) float64.

    Not (-1.0) ** n, which the "eager" backend of torch.compile turns into -(1.0 ** n).
    """
    return 1.0 - 2.0 * (torch.arange(count, device=device) % 2).double()


def _quadrature(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes in [0, 1] and weight times (2m + 1) P_m at them; (nodes,), (nodes, MAX_ORDER)."""
    node, weight = np.polynomial.legendre.leggauss(nodes)
    values = np.polynomial.legendre.legvander(node, MAX_ORDER - 1)
    return (
        constant((node + 1) / 2),
        constant(weight[:, None] / 2 * values * (2 * np.arange(MAX_ORDER) + 1)),
    )


# Made at import: torch.compile follows a cache into numpy.
_QUADRATURES = [_quadrature(nodes) for nodes in range(1, MAX_ORDER + 2)]


def shifted_legendre(theta: Tensor, count: int) -> Tensor:
    """Return P_n(2 theta - 1), n = 0..count-1, on a new last axis (Bonnet's recurrence)."""
    _check_count("count", count, 2 * MAX_ORDER)
    x = 2.0 * theta - 1.0
    values = [torch.ones_like(x), x]
    for n in range(1, count - 1):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[:count], dim=-1)


def legendre_integrals(theta: Tensor, count: int) -> Tensor:
    """Return the integrals of P_n(2 u - 1) from 0 to theta, n = 0..count-1, on a new last axis.

    (P_{n+1} - P_{n-1})/(2 (2n + 1)) for n > 0.
    """
    values = shifted_legendre(theta, count + 1)
    odd = 2.0 * torch.arange(1, count, dtype=theta.dtype, device=theta.device) + 1.0
    rise = (values[..., 2:] - values[..., :-2]) / (2.0 * odd)
    return torch.cat([theta[..., None], rise], dim=-1)


def restriction(rows: int, columns: int, a: Tensor) -> Tensor:
    """Return A_nm(a) with P_n(2 a theta - 1) = sum_m A_nm(a) P_m(2 theta - 1).

    Gauss-Legendre quadrature, which is exact for polynomials and, unlike the sum of powers,
    does not cancel for large n.

    Parameters
    ----------
    rows, columns : int
        n < rows, m < columns <= `MAX_ORDER`, rows + columns < 2 `MAX_ORDER` + 2.
    a : Tensor (...)
        The left part's share of the step, in [0, 1].

    Returns
    -------
    Tensor (..., rows, columns) float64
    """
    _check_count("rows", rows, 2 * MAX_ORDER)
    _check_count("columns", columns, min(MAX_ORDER, 2 * MAX_ORDER + 1 - rows))
    tables = _QUADRATURES[(rows + columns) // 2]
    theta, weight = (kept_on(a.device, table) for table in tables)
    outer = shifted_legendre(a.double()[..., None] * theta, rows)
    return outer.mT @ weight[:, :columns]


@lru_cache(maxsize=32)
def legendre_join_matrix(order: int) -> tuple[tuple[tuple[Fraction, ...], ...], ...]:
    """Return the exact polynomials A_nm(a): entry [n][m][k] is the coefficient of a^k.

    A_nm(a) = (2m + 1) sum_{k=m}^{n} (-1)^(n+k) (n+k)! / [(n-k)! (k-m)! (k+m+1)!] a^k.
    For exact work; `restriction` evaluates the same matrix for tensors.
    """
    _check_count("order", order, MAX_ORDER)
    return tuple(
        tuple(tuple(_power(n, m, k) for k in range(order)) for m in range(order))
        for n in range(order)
    )


def _check_count(name: str, value: int, most: int) -> None:
    if not isinstance(value, int) or not 1 <= value <= most:
        raise MolflowError(f"{name} is {value}: give a whole number from 1 to {most}.")


def _power(n: int, m: int, k: int) -> Fraction:
    if not m <= k <= n:
        return Fraction(0)
    below = factorial(n - k) * factorial(k - m) * factorial(k + m + 1)
    return Fraction((-1) ** (n + k) * (2 * m + 1) * factorial(n + k), below)
