"""What a step under known forces needs of its length alone: made on the processor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.legendre import legendre_integrals
from molflow.devices import like
from molflow.maps.langevin.free_path import free_velocity

#: ps. A bond with hydrogen takes six of them for one vibration.
SUBSTEP = 0.0017
#: How much longer they are for the path that the network of a finished map is told: from it nothing
#: goes on, and it tells as much. In training the difference would add up.
COARSE = 2.0


@dataclass(frozen=True)
class StepPlan:
    """Steps that are cut into equally many substeps, planned for states of one dtype and device.

    Attributes
    ----------
    h : Tensor, (batch,) float64
        Lengths, ps, where they were given.
    nodes : Tensor, (points,) float64
        Shares of the step where substeps end and in their middle, from 0 to 1; on the processor.
    start : Tensor, (batch, points, 1)
        ps; how X_free hangs on the velocity at the start.
    noise : Tensor, (batch, points, size)
        How it hangs on the whitened features, but for σ.
    half, kept : Tensor, (batch, 1, 1)
        Half of a substep δ, ps, and e^(−γδ/4).
    """

    h: Tensor
    nodes: Tensor
    start: Tensor
    noise: Tensor
    half: Tensor
    kept: Tensor


def plan_steps(
    basis: Basis, h: Tensor, longest: float, x: Tensor, coarse: float = 1.0
) -> StepPlan:
    """Return the plan of steps of lengths h, (batch,) float64, for states like x.

    Lengths on the processor are read there; those on another device are waited for. Substeps are
    at most `coarse` times as long as `SUBSTEP`.
    """
    h = h.cpu()
    count = max(1, math.ceil(float(h.max()) / (coarse * SUBSTEP) - 1e-6))
    nodes = torch.linspace(0.0, 1.0, 2 * count + 1, dtype=torch.float64)
    known = free_velocity(basis, h, longest)
    rows = h[:, None, None] * (legendre_integrals(nodes, basis.order + 2) @ known)
    start, noise = like(rows, x).split([1, basis.size], dim=-1)
    half = like(h / (len(nodes) - 1), x).reshape(-1, 1, 1)
    return StepPlan(h, nodes, start, noise, half, torch.exp(-0.5 * basis.rates[0] * half))


@lru_cache(maxsize=64)
def plan_equal_steps(
    basis: Basis, h: float, batch: int, longest: float, dtype: torch.dtype, device: torch.device,
    coarse: float = 1.0,
) -> StepPlan:  # fmt: skip
    """Return the plan of `batch` steps of one length, which a walk asks for again and again."""
    lengths = torch.full((batch,), h, dtype=torch.float64)
    like_x = torch.empty(0, dtype=dtype, device=device)
    return plan_steps(basis, lengths, longest, like_x, coarse)
