"""One long step equals two half steps, said of the rest of the force along the step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.brownian.legendre import shifted_legendre
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap


def composed_rest(
    teacher: BondedLangevinFlowMap, h: Tensor, x: Tensor, left: Increment, right: Increment
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what two half steps of the teacher say of a whole step.

    The rest of the force of the halves is one function of time, in two pieces; its Legendre
    coefficients on the whole step are what a step over both has to say.

    Parameters
    ----------
    teacher : BondedLangevinFlowMap
    h : Tensor, (batch,) float64
        Lengths of the whole steps, ps.
    x : Tensor, (batch, 2, atoms, 3)
    left, right : Increment
        Of the halves.

    Returns
    -------
    rest : Tensor, (count, batch, atoms, 3)
        f_n/m, nm/ps².
    middle : Tensor, (batch, 2, atoms, 3)
        States after the first half.
    late : Tensor, (count, batch, atoms, 3)
        f_n/m of the second half.
    """
    half = 0.5 * h
    first, second = left.whitened(), right.whitened()
    early = teacher.rest(half, teacher.path(half, x, first))
    mean = teacher.implied(half, x, first, early)
    middle = teacher.sde.apply(torch.zeros_like(h), half, x, mean, left)
    late = teacher.rest(half, teacher.path(half, middle, second))
    joining = _joined_like(len(early), early.dtype, early.device)
    return torch.einsum("nk,kbax->nbax", joining, torch.cat([early, late])), middle, late


@lru_cache
def _joined_like(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `joined` for coefficients of a dtype on a device, where it stays."""
    return joined(count).to(device, dtype)


def joined(count: int) -> Tensor:
    """Return what makes coefficients of a step of those of its halves, (count, 2 count) float64.

    (2n + 1) ∫ P_n(2θ − 1) f dθ for f = Σ a_k P_k on the first half and Σ b_k P_k on the second,
    both in their own θ.
    """
    gauss, weight = np.polynomial.legendre.leggauss(count)
    share = torch.from_numpy(0.5 + 0.5 * gauss)
    own = shifted_legendre(share, count)
    odd = 2.0 * torch.arange(count, dtype=torch.float64) + 1.0
    halves = [
        (shifted_legendre(0.5 * (share + later), count) * odd).mT
        @ (0.25 * torch.from_numpy(weight)[:, None] * own)
        for later in (0.0, 1.0)
    ]
    return torch.cat(halves, dim=1)
