"""Stratified random numbers, so that every batch sees the whole range."""

from __future__ import annotations

import torch
from torch import Tensor


def log_uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw stratified numbers whose logarithm is uniform between those of low and high."""
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / max(count, 1)
    return low * (high / low) ** strata
