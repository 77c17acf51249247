"""How the features change when an end of the step moves along a fixed smooth path.

The path is the mean of all Brownian paths that have the features of the increment: its
derivative is w(u) = sum_k phi_k(u) z_k with z the whitened features and phi_k their kernels,
orthonormal on the step. Without rates it is the polynomial path of degree N,
w(u) = sum_n (2n + 1)/h I^n P_n(2 (u - s)/h - 1). A step of no length has no such path: all
functions raise `MolflowError` unless h > 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join_matrix
from molflow.brownian.exponential import projection, residual_factor, tail, tail_limit
from molflow.brownian.increment import Increment, apply_matrix, check_lengths
from molflow.brownian.legendre import alternating


def path_rate_at_start(increment: Increment) -> Tensor:
    """Return w(s); without rates sum_m (2m + 1) (-1)^m I^m / h; (B, *shape)."""
    return _path_rate(increment, at_start=True)


def path_rate_at_end(increment: Increment) -> Tensor:
    """Return w(t); without rates sum_m (2m + 1) I^m / h; (B, *shape)."""
    return _path_rate(increment, at_start=False)


def features_by_start(increment: Increment) -> Tensor:
    """Return the derivative of the features with respect to s; (B, *shape, size).

    dI^n/ds = (n I^n + sum_{m<n} (-1)^(n+m) (2m + 1) I^m)/h - (-1)^n w(s) and
    dF_p/ds = -exp(-p h) w(s). Without rates the first is
    -((n + 1) I^n + sum_{m>n} (-1)^(n+m) (2m + 1) I^m)/h.
    """
    signs = alternating(increment.basis.order, increment.h.device)
    inner = signs[:, None] * signs * _inner(increment)
    decay = torch.exp(-increment.basis.scaled_steps(increment.h))
    edge = torch.cat([signs.expand(*increment.h.shape, -1), decay], dim=-1)
    rate = path_rate_at_start(increment)[..., None]
    return apply_matrix(_padded(increment, inner), increment.features) - apply_matrix(
        edge[..., None], rate
    )


def features_by_end(increment: Increment) -> Tensor:
    """Return the derivative of the features with respect to t; (B, *shape, size).

    dI^n/dt = w(t) - (n I^n + sum_{m<n} (2m + 1) I^m)/h and dF_p/dt = w(t) - p F_p. Without
    rates the first is ((n + 1) I^n + sum_{m>n} (2m + 1) I^m)/h.
    """
    inner = _padded(increment, -_inner(increment), increment.basis.rates)
    rate = path_rate_at_end(increment)[..., None]
    return apply_matrix(inner, increment.features) + rate


def whitened_by_start(increment: Increment) -> Tensor:
    """Return the derivative of the whitened features with respect to s; (B, *shape, size).

    Of size |z|/h however short the step, where differentiating the whitening of
    `features_by_start` would divide rounding errors by the small rest of F_p.
    """
    matrix = _shrink_matrix(increment.basis, increment.h.double(), at_start=True)
    return -apply_matrix(matrix, increment.whitened())


def whitened_by_end(increment: Increment) -> Tensor:
    """Return the derivative of the whitened features with respect to t; (B, *shape, size)."""
    matrix = _shrink_matrix(increment.basis, increment.h.double(), at_start=False)
    return apply_matrix(matrix, increment.whitened())


def _path_rate(increment: Increment, at_start: bool) -> Tensor:
    kernels = _edge_kernels(increment.basis, increment.h.double(), at_start)
    return apply_matrix(kernels[..., None, :], increment.whitened())[..., 0]


def _edge_kernels(basis: Basis, h: Tensor, at_start: bool) -> Tensor:
    """phi_k at the start or the end of the step; (..., size)."""
    check_lengths(h, positive=True)
    order = basis.order
    odd = 2.0 * torch.arange(order, dtype=h.dtype, device=h.device) + 1.0
    kernels = torch.sqrt(odd).expand(*h.shape, -1)
    if at_start:
        kernels = kernels * alternating(order, h.device)
    if basis.rates:
        q = basis.scaled_steps(h)
        size, factor = residual_factor(q, order)
        seen, rest = projection(q, order), tail(q, order)
        ends = torch.ones_like(q)
        if at_start:
            seen = seen * alternating(order, h.device)
            rest = rest * alternating(order + rest.shape[-1], h.device)[order:]
            ends = torch.exp(-q)
        short = q / 2 < tail_limit(order)
        difference = (ends - seen.sum(-1)) / torch.where(short, 1.0, size)
        edge = torch.where(short, rest.sum(-1), difference)[..., None]
        edge = torch.linalg.solve_triangular(factor, edge, upper=False)[..., 0]
        kernels = torch.cat([kernels, edge], dim=-1)
    return kernels / torch.sqrt(h)[..., None]


def _shrink_matrix(basis: Basis, h: Tensor, at_start: bool) -> Tensor:
    """G with dz/ds = -G z or dz/dt = G z: Chen's relation with a part of vanishing length."""

    def kept(cut: Tensor) -> Tensor:
        if at_start:
            return join_matrix(basis, cut, h - cut)[..., basis.size :]
        return join_matrix(basis, h - cut, cut)[..., : basis.size]

    none = torch.zeros_like(h)
    slope = torch.func.jvp(kept, (none,), (torch.ones_like(h),))[1]
    edge = _edge_kernels(basis, h, at_start)
    return slope + edge[..., :, None] * edge[..., None, :]


def _inner(increment: Increment) -> Tensor:
    """The matrix with n on the diagonal and 2m + 1 where m < n; (order, order) float64."""
    order = increment.basis.order
    n = torch.arange(order, dtype=torch.float64, device=increment.h.device)
    return torch.diag(n) + torch.tril((2.0 * n + 1.0).expand(order, order), diagonal=-1)


def _padded(increment: Increment, inner: Tensor, rates: tuple[float, ...] = ()) -> Tensor:
    """inner / h on the coefficients and -rates on the exponentials; ([B,] size, size)."""
    size, order = increment.basis.size, increment.basis.order
    matrix = inner.new_zeros(*increment.h.shape, size, size)
    matrix[..., :order, :order] = inner / increment.h.double()[..., None, None]
    for index, rate in enumerate(rates, start=order):
        matrix[..., index, index] = -rate
    return matrix
