"""Densities of flows by exact Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molflow.exact.subspace import helmert

#: (1 + directions, batch, atoms, 3) -> the same: a flow with its derivatives.
Rows = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Arrival:
    """Where a flow arrived, and how it stretched space on the way.

    Attributes
    ----------
    positions : Tensor, (batch, atoms, 3)
    log_determinant : Tensor, (batch,), float64
        ln |det| of the derivative in the centred subspace.
    sign : Tensor, (batch,)
        Of that determinant: a map without folds keeps it.
    jacobian : Tensor, (batch, d, d), float64
        The derivative in coordinates of the basis of `helmert`.
    """

    positions: Tensor
    log_determinant: Tensor
    sign: Tensor
    jacobian: Tensor


def arrive(flow: Rows, x: Tensor, chunk: int | None = None) -> Arrival:
    """Carry states through an equivariant map and find the determinants of its derivative.

    Of the 3N − 3 directions of the centred subspace three need no derivative: turning the start
    turns the end, so the derivative along e × x is e × f(x). The remaining 3N − 6 are orthonormal
    to those, state by state.

    Parameters
    ----------
    flow : callable
        As `ProbabilityFlow.rows` with its `TangentMean`.
    x : Tensor, (batch, atoms, 3)
        Centred, not all atoms on a line.
    chunk : int, optional
        Directions at once; by default all.
    """
    atoms = x.shape[1]
    basis = torch.from_numpy(helmert(atoms)).to(x.device)
    turns = _turned(x.double()).flatten(2) @ basis  # (3, batch, d)
    frame, corner = torch.linalg.qr(turns.permute(1, 2, 0), mode="complete")
    others = frame[:, :, 3:]
    directions = (basis @ others).permute(2, 0, 1).unflatten(2, (atoms, 3)).to(x.dtype)
    missing = (-len(directions)) % (chunk or len(directions))
    directions = torch.cat([directions, directions[:missing]])  # chunks of one size
    parts = [
        flow(torch.cat([x.unsqueeze(0), part]))
        for part in directions.split(chunk or len(directions))
    ]
    end = parts[0][0]
    moved = torch.cat([part[1:] for part in parts])[: others.shape[2]].double().flatten(2) @ basis
    # The three turns, in the orthonormal frame of the start: R = Q C, so Q = R C⁻¹.
    turned = (_turned(end.double()).flatten(2) @ basis).permute(1, 2, 0)
    turned = torch.linalg.solve_triangular(corner[:, :3], turned, upper=True, left=False)
    jacobian = torch.cat([turned, moved.permute(1, 2, 0)], dim=2)
    sign, size = torch.linalg.slogdet(jacobian)
    sign = sign * torch.linalg.slogdet(frame)[0]
    return Arrival(end, size, sign, jacobian @ frame.mT)


def log_normal(x: Tensor, variance: float) -> Tensor:
    """Return ln N(x; 0, variance) of centred states (batch, atoms, 3) in their subspace."""
    size = 3 * (x.shape[1] - 1)
    squares = x.double().square().flatten(1).sum(1)
    return -0.5 * (squares / variance + size * np.log(2.0 * np.pi * variance))


def _turned(x: Tensor) -> Tensor:
    """Return e × x for the three axes e, (3, batch, atoms, 3)."""
    axes = torch.eye(3, dtype=x.dtype, device=x.device)
    return torch.stack([torch.linalg.cross(axis.expand_as(x), x) for axis in axes])
