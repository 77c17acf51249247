"""The features of the two parts of a step, given those of the whole: inverse Chen."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join_matrix
from molflow.brownian.increment import Increment, apply_matrix
from molflow.errors import MolflowError


def split(parent: Increment, fraction: Tensor | float, xi: Tensor) -> tuple[Increment, Increment]:
    """Draw the two parts of a step from their exact law given the whole.

    Parameters
    ----------
    parent : Increment
    fraction : float, Tensor () or (B,)
        The left part's share of the length, strictly between 0 and 1.
    xi : Tensor (B, *shape, size)
        Independent standard normal numbers: what the parent does not say about its parts.

    Returns
    -------
    left, right : Increment
        `join(left, right)` is the parent.

    Raises
    ------
    MolflowError
        If a part would have no length or the shapes do not fit.
    """
    if xi.shape != parent.features.shape:
        raise MolflowError(
            f"xi has shape {tuple(xi.shape)}: give one number for each feature of the parent, "
            f"{tuple(parent.features.shape)}."
        )
    fraction = torch.as_tensor(fraction, dtype=torch.float64, device=parent.h.device)
    if not bool(((fraction > 0) & (fraction < 1)).all()):
        raise MolflowError(f"fraction is {fraction}: it must lie strictly between 0 and 1.")
    if fraction.shape not in ((), xi.shape[:1]):
        raise MolflowError(
            f"fraction has shape {tuple(fraction.shape)} for a batch of {len(xi)}: give one "
            "number, or one for each member of the batch."
        )
    h_left = parent.h.double() * fraction
    h_right = parent.h.double() - h_left
    matrix = split_matrix(parent.basis, h_left, h_right)
    parts = apply_matrix(matrix, torch.cat([parent.whitened(), xi], dim=-1))
    left, right = parts.chunk(2, dim=-1)
    return (
        Increment.from_whitened(parent.basis, h_left.to(parent.h.dtype), left),
        Increment.from_whitened(parent.basis, h_right.to(parent.h.dtype), right),
    )


def split_matrix(basis: Basis, h_left: Tensor, h_right: Tensor) -> Tensor:
    """Return the orthogonal S with (z_left, z_right) = S (z, xi) for whitened features.

    S = [M^T, Q] with M of `join_matrix` and Q an orthonormal basis of what M does not see.

    Parameters
    ----------
    basis : Basis
    h_left, h_right : Tensor (...)

    Returns
    -------
    Tensor (..., 2 size, 2 size) float64
    """
    rows = join_matrix(basis, h_left, h_right)
    unseen = torch.linalg.qr(rows.mT, mode="complete").Q[..., basis.size :]
    return torch.cat([rows.mT, unseen], dim=-1)
