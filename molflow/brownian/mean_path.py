"""The path that the features describe: the mean of all Brownian paths that have them."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.chen import join_matrix
from molflow.brownian.increment import Increment, apply_matrix
from molflow.errors import MolflowError


def mean_path(increment: Increment, theta: Tensor) -> Tensor:
    """Return E[W_u - W_s | features] at u = s + theta h; (B, *shape, points).

    Without rates it is a polynomial of degree N in theta, and the mean over the step of its
    squared distance from the path is h N/(2 (4 N^2 - 1)) on average.

    Parameters
    ----------
    increment : Increment
    theta : Tensor (points,)
        Shares of the step, from 0 to 1.

    Raises
    ------
    MolflowError
        If a share lies outside the step.
    """
    if theta.ndim != 1 or not bool(((theta >= 0) & (theta <= 1)).all()):
        raise MolflowError(
            f"theta has shape {tuple(theta.shape)} and reaches from {float(theta.min()):g} to "
            f"{float(theta.max()):g}: give a list of numbers from 0 to 1."
        )
    h = increment.h.double()[..., None]
    theta = theta.double().to(h.device)
    # The left part's W given the whole: Chen's matrix has orthonormal rows, so that its transpose
    # gives the means of the parts.
    seen = join_matrix(increment.basis, h * theta, h * (1.0 - theta))[..., 0]
    weights = torch.sqrt(h * theta)[..., None] * seen
    return apply_matrix(weights, increment.whitened())
