"""Operations on vectors (..., 3, channels) that commute with rotations."""

from __future__ import annotations

import torch
from torch import Tensor


def mix(vectors: Tensor, weight: Tensor) -> Tensor:
    """Mix the channels of vectors, (..., 3, in) -> (..., 3, out); no bias, which would point."""
    return vectors @ weight


def cross(left: Tensor, right: Tensor) -> Tensor:
    """Cross product of vectors (..., 3, channels); written out, it is faster than torch's here."""
    a, b, c = left.unbind(-2)
    d, e, f = right.unbind(-2)
    return torch.stack([b * f - c * e, c * d - a * f, a * e - b * d], dim=-2)


def difference_products(vectors: Tensor) -> Tensor:
    """Return (y_i - y_j) . (u_i - u_j) of channel 0, y, with every channel u of each pair.

    By Gram matrices, (batch, atoms, 3, k) -> (batch, atoms, atoms, k), so that no array has a
    pair, a component and a channel index together.
    """
    b, n, _, k = vectors.shape
    first = vectors[..., 0]
    across = (first @ vectors.transpose(1, 2).reshape(b, 3, n * k)).reshape(b, n, n, k)
    # Taken from the diagonal of the same product: an atom is at no distance from itself.
    own = across.diagonal(dim1=1, dim2=2).transpose(1, 2)
    return own.unsqueeze(1) + own.unsqueeze(2) - across - across.transpose(1, 2)
