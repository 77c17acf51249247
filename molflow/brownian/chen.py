"""Chen's relation: the features of a step from those of its two parts."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.exponential import (
    TAIL_TERMS,
    projection,
    residual_factor,
    tail,
    tail_limit,
)
from molflow.brownian.increment import Increment, apply_matrix, check_lengths
from molflow.brownian.legendre import alternating, restriction
from molflow.errors import MolflowError


def join(left: Increment, right: Increment) -> Increment:
    """Return the increment over both steps, `left` walked first.

    Lengths may differ and may be batched; one of the two may be 0. The Legendre coefficients
    follow Chen's relation and F_p = exp(-p h_right) F_p,left + F_p,right.

    Raises
    ------
    MolflowError
        If the bases, or the shapes or precisions of the features, differ.
    """
    one, other = (
        (part.basis, tuple(part.features.shape), part.features.dtype) for part in (left, right)
    )
    if one != other:
        raise MolflowError(
            f"left has {one[0]}, shape {one[1]} and {one[2]}, right {other[0]}, {other[1]} and "
            f"{other[2]}: only increments of one path can be joined."
        )
    matrix = join_matrix(left.basis, left.h, right.h)
    children = torch.cat([left.whitened(), right.whitened()], dim=-1)
    return Increment.from_whitened(left.basis, left.h + right.h, apply_matrix(matrix, children))


def dyadic(path: list[Increment]) -> list[list[Increment]]:
    """Return a path in 2^k steps, in half as many, and so on down to one.

    Parameters
    ----------
    path : list of Increment
        In the order of walking, a power of two of them.
    """
    levels = [path]
    while len(levels[-1]) > 1:
        halves = zip(levels[-1][::2], levels[-1][1::2], strict=True)
        levels.append([join(left, right) for left, right in halves])
    return levels


def join_equal_matrix(basis: Basis, h: Tensor, count: int) -> Tensor:
    """Return M with z = M (z_1, .., z_count) for parts that are all of length h, ().

    Returns
    -------
    Tensor (size, count size) float64
    """
    whole = torch.eye(basis.size, dtype=torch.float64, device=h.device)
    for walked in range(1, count):
        left, right = join_matrix(basis, walked * h, h).chunk(2, dim=-1)
        whole = torch.cat([left @ whole, right], dim=-1)
    return whole


def join_matrix(basis: Basis, h_left: Tensor, h_right: Tensor) -> Tensor:
    """Return M with z = M (z_left, z_right) for whitened features.

    The rows of M are orthonormal. It is built without a difference of nearly equal numbers,
    so it is accurate for steps of any length.

    Parameters
    ----------
    basis : Basis
    h_left, h_right : Tensor (...)
        Lengths of the parts; if both are 0, the right part is returned.

    Returns
    -------
    Tensor (..., size, 2 size) float64

    Raises
    ------
    MolflowError
        If a length is negative or the shapes do not fit.
    """
    check_lengths(h_left)
    check_lengths(h_right)
    try:
        h_left, h_right = torch.broadcast_tensors(h_left.double(), h_right.double())
    except RuntimeError as error:
        raise MolflowError(
            f"h_left has shape {tuple(h_left.shape)} and h_right {tuple(h_right.shape)}: give "
            "shapes that broadcast against each other."
        ) from error
    h = h_left + h_right
    # Only the ratio matters to the coefficients; two lengths of 0 must not make it undefined.
    a = h_left / torch.where(h > 0, h, 1.0)
    b = 1.0 - a
    order = basis.order
    rows = order + (TAIL_TERMS if basis.rates else 0)
    sign = alternating(rows, h.device)
    left = restriction(rows, order, a)
    right = restriction(rows, order, b) * sign[:, None] * sign[:order]
    odd = 2.0 * torch.arange(order, dtype=torch.float64, device=h.device) + 1.0
    width_left = torch.sqrt(a[..., None] / odd)[..., None, :]
    width_right = torch.sqrt(b[..., None] / odd)[..., None, :]
    spread = torch.sqrt(odd)[:, None]
    top_left = spread * left[..., :order, :] * width_left
    top_right = spread * right[..., :order, :] * width_right
    if not basis.rates:
        return torch.cat([top_left, top_right], dim=-1)

    q, q_left, q_right = (basis.scaled_steps(part) for part in (h, h_left, h_right))
    size, factor = residual_factor(q, order)
    size = torch.where(size > 0, size, 1.0)[..., None]
    seen, rest = projection(q, order), tail(q, order)
    short = (q / 2 < tail_limit(order))[..., None]
    decay = torch.exp(-q_right)[..., None]

    def row(parts: Tensor, own: Tensor, width: Tensor) -> Tensor:
        # The kernel on the part, less what the coefficients of the whole say about it.
        summed = rest @ parts[..., order:, :]
        difference = (own - seen @ parts[..., :order, :]) / torch.where(short, 1.0, size)
        return torch.where(short, summed, difference) * width

    def residual(part: Tensor, share: Tensor) -> Tensor:
        part_size, part_factor = residual_factor(part, order)
        # At h = 0 the ratio of sizes is its limit, share^order.
        ratio = torch.where(q[..., None] > 0, part_size[..., None] / size, share**order)
        return ratio * part_factor * torch.sqrt(share)

    share_a, share_b = a[..., None, None], b[..., None, None]
    bottom = torch.cat(
        [
            row(left, decay * projection(q_left, order), width_left),
            decay * residual(q_left, share_a),
            row(right, projection(q_right, order), width_right),
            residual(q_right, share_b),
        ],
        dim=-1,
    )
    bottom = torch.linalg.solve_triangular(factor, bottom, upper=False)
    none = torch.zeros_like(bottom[..., :1, :1]).expand(*h.shape, order, len(basis.rates))
    top = torch.cat([top_left, none, top_right, none], dim=-1)
    return torch.cat([top, bottom], dim=-2)
