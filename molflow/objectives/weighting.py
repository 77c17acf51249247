"""How the residuals of a batch, of very different sizes, make one loss."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted(residual: Tensor, log_variance: Tensor) -> Tensor:
    """Return exp(−u) r + u averaged over the batch: a Gaussian likelihood with learned variance.

    Kendall, Gal and Cipolla 2018 (arXiv 1705.07115). At the optimum u = log E[r], which brings
    every time to weight one.
    """
    return torch.mean(torch.exp(-log_variance) * residual + log_variance)


def self_weighted(residual: Tensor, floor: float = 1e-3) -> Tensor:
    """Return the mean of r / (stop-gradient of r + floor): every residual of weight about one.

    The weight of MeanFlow (arXiv 2505.13447) with power 1. Unlike `weighted` it looks at single
    residuals, so where the target is random the minimiser is no longer a conditional mean.
    """
    return torch.mean(residual / (residual.detach() + floor))
