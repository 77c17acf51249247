"""The motion of a step under what is known: noise, bonded forces, a force that is given."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.free_path import free_velocity
from molflow.sde.underdamped import UnderdampedLangevin

#: ps. A bond with hydrogen takes six of them for one vibration.
SUBSTEP = 0.0015


class KnownMotion(nn.Module):
    r"""Solve dX = V du, dV = [(F_b(X) + F_s(u))/m − γ V] du + σ dW on the path of the features.

    F_b are bonded forces and F_s(u) = Σ f_n P_n(2θ − 1), θ = (u − s)/h, is given. With
    X = X_free + r the free motion X_free, which meets no force, is exact given the features of
    the increment (`free_velocity`), and the response r, which is smooth, starts at rest. Its end is
    G n̄, n̄ the means of the whole force.

    With w = e^(γ(u−s)/2) r friction is out of the equation, ẅ = e^(γ(u−s)/2) (a + γ² r/4), a the
    acceleration by both forces. It is integrated in equal substeps δ of `SUBSTEP` at most by scheme
    4A of Chin (Phys. Lett. A 226, 344, 1997), of order 4 and symplectic: what a vibration loses in
    a step comes back as slowly as friction lets it. The force gradient that the scheme has in the
    middle of a substep is, up to its order, in the force at r + δ² (a + γ² r/4)/24.

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
        """Return X_free, the mean given the features, where substeps end and in their middle.

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
        nodes = torch.linspace(0.0, 1.0, 2 * count + 1, dtype=torch.float64, device=h.device)
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
            In the middle of substeps up to order 3, which does not add up.
        end : Tensor, (batch, 2, atoms, 3)
            Displacement and velocity of the response at the end of the step.
        """
        half = (h / (len(nodes) - 1)).to(free).reshape(-1, 1, 1)
        rate, masses = self.sde.friction, self.sde.masses.to(free)
        kept, step = torch.exp(-0.5 * rate * half), 2.0 * half
        pushes = [None] * len(nodes)
        if given is not None:
            shapes = legendre(nodes, len(given)).to(free)
            pushes = torch.einsum("pn,nbax->pbax", shapes, given)

        def acceleration(k: int, r: Tensor) -> Tensor:
            found = self.bonded(free[k] + r) / masses + 0.25 * rate**2 * r
            return found if pushes[k] is None else found + pushes[k]

        # With e^(γ(u−s)/2) taken out again, w is r, and w' is q = r' + γ r/2.
        r, q = torch.zeros_like(free[0]), torch.zeros_like(free[0])
        rs, a = [r], acceleration(0, r)
        for k in range(1, len(nodes), 2):
            q = q + step / 6.0 * a
            r, q = kept * (r + half * q), kept * q
            rs.append(r + step.square() / 24.0 * acceleration(k, r))
            q = q + 2.0 / 3.0 * step * acceleration(k, rs[-1])
            r, q = kept * (r + half * q), kept * q
            rs.append(r)
            a = acceleration(k + 1, r)
            q = q + step / 6.0 * a
        return free + torch.stack(rs), torch.stack([r, q - 0.5 * rate * r], dim=1)


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


def between(points: int, shares: Tensor) -> Tensor:
    """Return what makes values at shares of a step of those at its nodes.

    Through the ends and the middle of each substep there is a parabola.

    Parameters
    ----------
    points : int
        Equally spaced nodes, two for a substep and one.
    shares : Tensor, (shares,) float64

    Returns
    -------
    Tensor, (shares, points) float64
    """
    at = 0.5 * (points - 1) * shares
    substep = at.long().clamp(max=(points - 3) // 2)
    late = at - substep
    values = torch.stack(
        [(1.0 - late) * (1.0 - 2.0 * late), 4.0 * late * (1.0 - late), late * (2.0 * late - 1.0)],
        dim=1,
    )
    columns = 2 * substep[:, None] + torch.arange(3, device=shares.device)
    return shares.new_zeros(len(shares), points).scatter(1, columns, values)


@lru_cache
def expansion(points: int, count: int) -> Tensor:
    """Return what makes Legendre coefficients of values at the nodes of a step.

    They are (2n + 1) ∫ P_n(2θ − 1) f dθ for n < count of the f that is a parabola in each substep.

    Returns
    -------
    Tensor, (count, points) float64
    """
    gauss, weight = np.polynomial.legendre.leggauss(count // 2 + 2)
    substeps = (points - 1) // 2
    shares = (np.arange(substeps)[:, None] + 0.5 + 0.5 * gauss) / substeps
    shares = torch.from_numpy(shares).flatten()
    odd = 2.0 * torch.arange(count, dtype=torch.float64) + 1.0
    weights = torch.from_numpy(np.tile(0.5 * weight / substeps, substeps))[:, None] * odd
    return (legendre(shares, count) * weights).mT @ between(points, shares)
