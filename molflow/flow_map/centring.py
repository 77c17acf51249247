"""The subspace in which molecules have no place of their own."""

from __future__ import annotations

from torch import Tensor


def centre(vectors: Tensor) -> Tensor:
    """Remove the mean over atoms of an array (..., atoms, 3)."""
    return vectors - vectors.mean(dim=-2, keepdim=True)
