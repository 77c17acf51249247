"""The motion without force, which tells where along a step the force is met."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join_matrix
from molflow.errors import MolflowError
from molflow.sde.quadrature import legendre_rule

#: The largest friction times lag: beyond it velocities are forgotten within a step.
LONGEST = 16.0
_TERMS = 32


def free_velocity(basis: Basis, h: Tensor, longest: float) -> Tensor:
    r"""Return how the free velocity of a step hangs on its start and on the whitened features.

    Without force the velocity is w(u) = e^(−γ(u−s)) v + σ ∫ₛᵘ e^(−γ(u−r)) dW_r. Its mean given the
    features z of the increment is E[w(s + θh)] = Σ c_n P_n(2θ − 1), and

        c_n = m_n0 v + σ Σ_k m_n,k+1 z_k,   n = 0 .. N + 1.

    With N coefficients Iⁿ and the exponential feature of rate γ these are as many numbers as v and
    z: nothing is lost.

    Parameters
    ----------
    basis : Basis
        Of N coefficients and the one rate γ.
    h : Tensor (...)
        Lengths of steps.
    longest : float
        The longest that may be asked for; γ times it is at most `LONGEST`.

    Returns
    -------
    Tensor (..., N + 2, N + 2) float64
        m; its first column has no unit, the others are in the square root of the unit of time.

    Raises
    ------
    MolflowError
        If the basis has not one rate, or it is too high for such steps.
    """
    # The next power of two, so that few tables serve many frictions.
    bound = 2.0 ** max(0, math.ceil(math.log2(check_rate(basis, longest))))
    q = basis.rates[0] * h.double()
    x = (2.0 * q / bound - 1.0)[..., None]
    values = [torch.ones_like(x), x]
    for _ in range(_TERMS - 2):
        values.append(2.0 * x * values[-1] - values[-2])
    table = _chebyshev_table(basis.order, bound, q.device)
    matrix = (torch.cat(values, dim=-1) @ table).unflatten(-1, (basis.order + 2, -1))
    root = torch.sqrt(h.double())[..., None, None]
    return torch.cat([matrix[..., :1], root * matrix[..., 1:]], dim=-1)


def check_rate(basis: Basis, longest: float) -> float:
    """Return the largest friction times lag; raise `MolflowError` as `free_velocity` does."""
    if len(basis.rates) != 1:
        raise MolflowError(
            f"the basis is {basis}: the free velocity needs the one rate of the friction."
        )
    most = basis.rates[0] * longest
    if not most <= LONGEST:
        raise MolflowError(
            f"friction times lag is {most:.3g}: a map of velocities takes at most {LONGEST:g}; "
            "take shorter steps, less friction or overdamped dynamics."
        )
    return most


@lru_cache
def _chebyshev_table(order: int, bound: float, device: torch.device) -> Tensor:
    """m at h = 1 as Chebyshev series in γ on [0, bound]; (terms, (order + 2)²).

    Entries are entire functions of γh, so that the series has all digits.
    """
    angle = np.pi * (np.arange(_TERMS) + 0.5) / _TERMS
    rates = 0.5 * bound * (1.0 + np.cos(angle))
    values = torch.stack([_by_quadrature(Basis(order, (rate,))) for rate in rates.tolist()])
    weights = 2.0 / _TERMS * np.cos(np.arange(_TERMS)[:, None] * angle)
    weights[0] *= 0.5
    with torch.inference_mode(False):
        return (torch.from_numpy(weights) @ values.flatten(1)).to(device)


def _by_quadrature(basis: Basis) -> Tensor:
    """m of a step of length 1.

    What of ∫ₛᵘ e^(−γ(u−r)) dW_r is known from the features follows from Chen's relation, whose
    matrix has orthonormal rows, as in `molflow.brownian.mean_path`.
    """
    node, weight, legendre = legendre_rule(basis.order + 2)
    kernel = basis.cholesky(node)[..., -1:, :]
    seen = join_matrix(basis, node, 1.0 - node)[..., : basis.size]
    noise = (kernel @ seen.mT)[..., 0, :]
    kept = torch.exp(-basis.rates[0] * node)[:, None]
    return (weight[:, None] * legendre).mT @ torch.cat([kept, noise], dim=-1)
