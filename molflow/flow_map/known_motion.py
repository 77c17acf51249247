"""The motion of a step under what is known: noise, bonded forces, a force that is given."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.flow_map.bonded import BondedForce
from molflow.flow_map.free_path import free_velocity
from molflow.sde.underdamped import UnderdampedLangevin

#: ps. A bond with hydrogen takes eighteen of them for one vibration.
SUBSTEP = 0.0005


class KnownMotion(nn.Module):
    r"""Solve dX = V du, dV = [(F_b(X) + F_s(u))/m − γ V] du + σ dW on the path of the features.

    F_b are bonded forces and F_s(u) = Σ f_n P_n(2θ − 1), θ = (u − s)/h, is given. With
    X = X_free + r the free motion X_free, which meets no force, is exact given the features of
    the increment (`free_velocity`), and the response r, which is smooth, is
    integrated by the symmetric splitting kick, drift, friction, drift, kick in equal substeps of
    `SUBSTEP` at most. It starts at rest, and its end is G n̄, n̄ the means of the whole force.

    Parameters
    ----------
    sde : UnderdampedLangevin
    bonded : BondedForce
    basis : Basis
        Of the increments.
    longest_lag : float
        ps.
    """

    def __init__(
        self, sde: UnderdampedLangevin, bonded: BondedForce, basis: Basis, longest_lag: float
    ):
        super().__init__()
        self.sde, self.bonded, self.basis, self.longest = sde, bonded, basis, longest_lag

    def free(self, h: Tensor, x: Tensor, whitened: Tensor) -> tuple[Tensor, Tensor]:
        """Return X_free, the mean given the features, where substeps end.

        Parameters
        ----------
        h : Tensor, (batch,) float64
        x : Tensor, (batch, 2, atoms, 3)
            State at the start.
        whitened : Tensor, (batch, atoms, 3, size)

        Returns
        -------
        nodes : Tensor, (points,) float64
            Shares of the step, from 0 to 1.
        positions : Tensor, (points, batch, atoms, 3)
            nm.
        """
        count = max(1, math.ceil(float(h.max()) / SUBSTEP - 1e-6))
        nodes = torch.linspace(0.0, 1.0, count + 1, dtype=torch.float64, device=h.device)
        known = free_velocity(self.basis, h, self.longest)
        rows = h[:, None, None] * (integrals(nodes, self.basis.order + 2) @ known)
        start, noise = rows.to(x).split([1, self.basis.size], dim=-1)
        moved = torch.einsum("bpn,baxn->pbax", noise, whitened)
        moved = self.sde.sigma.to(x) * moved
        by_start = start.permute(1, 0, 2)[..., None]
        return nodes, x[:, 0] + by_start * x[:, 1] + moved

    def respond(
        self, h: Tensor, nodes: Tensor, free: Tensor, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return positions at the nodes, and the response at the end.

        Parameters
        ----------
        h : Tensor, (batch,) float64
        nodes, free : Tensor
            As `free` gives them.
        given : Tensor, (count, batch, atoms, 3), optional
            f_n/m in nm/ps²; none if not given.

        Returns
        -------
        positions : Tensor, (points, batch, atoms, 3)
        end : Tensor, (batch, 2, atoms, 3)
            Displacement and velocity of the response at the end of the step.
        """
        step = (h / (len(nodes) - 1)).to(free).reshape(-1, 1, 1)
        kept, masses = torch.exp(-self.sde.friction * step), self.sde.masses.to(free)
        pushes = [None] * len(nodes)
        if given is not None:
            shapes = legendre(nodes, len(given)).to(free)
            pushes = torch.einsum("pn,nbax->pbax", shapes, given)

        def acceleration(k: int, r: Tensor) -> Tensor:
            found = self.bonded(free[k] + r) / masses
            return found if pushes[k] is None else found + pushes[k]

        r, v = torch.zeros_like(free[0]), torch.zeros_like(free[0])
        rs, a = [r], acceleration(0, r)
        for k in range(1, len(nodes)):
            v = v + 0.5 * step * a
            r = r + 0.5 * step * (1.0 + kept) * v
            rs.append(r)
            a = acceleration(k, r)
            v = kept * v + 0.5 * step * a
        return free + torch.stack(rs), torch.stack([r, v], dim=1)


def legendre(shares: Tensor, count: int) -> Tensor:
    """Return P_n(2θ − 1) for n < count at shares θ of a step, (points, count)."""
    x = 2.0 * shares - 1.0
    values = [torch.ones_like(x), x]
    for n in range(1, count - 1):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[:count], dim=-1)


def integrals(shares: Tensor, count: int) -> Tensor:
    """Return ∫₀^θ P_n(2ϑ − 1) dϑ = (P_(n+1) − P_(n−1))/(2 (2n + 1)), (points, count)."""
    values = legendre(shares, count + 1)
    odd = 2.0 * torch.arange(1, count, dtype=shares.dtype, device=shares.device) + 1.0
    rise = (values[:, 2:] - values[:, :-2]) / (2.0 * odd)
    return torch.cat([shares[:, None], rise], dim=1)


@lru_cache
def expansion(substeps: int, count: int) -> Tensor:
    """Return what makes Legendre coefficients of values at the ends of equal substeps.

    They are (2n + 1) ∫ P_n(2θ − 1) f dθ for n < count of the f that is linear in each substep.

    Returns
    -------
    Tensor, (count, substeps + 1) float64
    """
    gauss, weight = np.polynomial.legendre.leggauss(count // 2 + 1)
    share = 0.5 + 0.5 * gauss
    at = torch.from_numpy((np.arange(substeps)[:, None] + share) / substeps)
    odd = 2.0 * torch.arange(count, dtype=torch.float64) + 1.0
    parts = torch.from_numpy(0.5 * weight / substeps)[:, None] * odd
    parts = legendre(at.flatten(), count).unflatten(0, at.shape) * parts
    late = torch.from_numpy(share)[:, None]
    matrix = torch.zeros(substeps + 1, count, dtype=torch.float64)
    matrix[:-1] += ((1.0 - late) * parts).sum(1)
    matrix[1:] += (late * parts).sum(1)
    return matrix.mT.contiguous()
