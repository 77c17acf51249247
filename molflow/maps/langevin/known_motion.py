"""The motion of a step under what is known: noise, bonded forces, a force that is given."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.brownian.legendre import shifted_legendre
from molflow.maps.langevin.step_plan import StepPlan, plan_equal_steps, plan_steps
from molflow.sde.underdamped import UnderdampedLangevin


class KnownMotion(nn.Module):
    r"""Solve dX = V du, dV = [(F_b(X) + F_s(u))/m − γ V] du + σ dW on the path of the features.

    F_b are bonded forces and F_s(u) = Σ f_n P_n(2θ − 1), θ = (u − s)/h, is given. With
    X = X_free + r the free motion X_free, which meets no force, is exact given the features of
    the increment (`free_velocity`), and the response r, which is smooth, starts at rest. Its end is
    G n̄, n̄ the means of the whole force.

    With w = e^(γ(u−s)/2) r friction is out of the equation, ẅ = e^(γ(u−s)/2) (a + γ² r/4), a the
    acceleration by both forces. It is integrated in the equal substeps δ of a `StepPlan` by scheme
    4A of Chin (Phys. Lett. A 226, 344, 1997), of order 4 and symplectic: what a vibration loses in
    a step comes back as slowly as friction lets it. The force gradient that the scheme has in the
    middle of a substep is, up to its order, in the force at r + δ² (a + γ² r/4)/24.

    Parameters
    ----------
    sde : UnderdampedLangevin
    bonded : nn.Module
        Of `known_force`.
    basis : Basis
        Of the increments.
    longest_lag : float
        ps.
    """

    def __init__(
        self, sde: UnderdampedLangevin, bonded: nn.Module, basis: Basis, longest_lag: float
    ):
        super().__init__()
        self.sde, self.bonded, self.basis, self.longest = sde, bonded, basis, longest_lag

    def plan(self, h: Tensor, x: Tensor) -> StepPlan:
        """Return the plan of steps of lengths h, (batch,) float64 in ps, for states like x."""
        return plan_steps(self.basis, h, self.longest, x)

    def plan_equal(self, h: float, x: Tensor, coarse: float = 1.0) -> StepPlan:
        """Return the plan of steps from x that are all as long."""
        return plan_equal_steps(self.basis, h, len(x), self.longest, x.dtype, x.device, coarse)

    def free(self, plan: StepPlan, x: Tensor, whitened: Tensor) -> Tensor:
        """Return X_free, the mean given the features, at the nodes of the plan.

        Parameters
        ----------
        plan : StepPlan
        x : Tensor, (batch, 2, atoms, 3)
            State at the start.
        whitened : Tensor, (batch, atoms, 3, size)

        Returns
        -------
        Tensor, (points, batch, atoms, 3)
            nm.
        """
        moved = torch.einsum("bpn,baxn->pbax", plan.noise, whitened)
        moved = self.sde.sigma.to(x) * moved
        by_start = plan.start.permute(1, 0, 2)[..., None]
        return x[:, 0] + by_start * x[:, 1] + moved

    def respond(
        self, plan: StepPlan, free: Tensor, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return positions at the nodes, and the response at the end.

        Parameters
        ----------
        plan : StepPlan
        free : Tensor
            As `free` gives it.
        given : Tensor, (count, batch, atoms, 3), optional
            f_n/m in nm/ps²; none if not given.

        Returns
        -------
        positions : Tensor, (points, batch, atoms, 3)
            In the middle of substeps up to order 3, which does not add up.
        end : Tensor, (batch, 2, atoms, 3)
            Displacement and velocity of the response at the end of the step.
        """
        half, kept, points = plan.half, plan.kept, len(plan.nodes)
        rate, masses = self.sde.friction, self.sde.masses.to(free)
        step = 2.0 * half
        pushes: Tensor | None = None
        if given is not None:
            shapes = nodes_shape(points, len(given), free.dtype, free.device)
            pushes = torch.einsum("pn,nbax->pbax", shapes, given)

        def acceleration(k: int, r: Tensor) -> Tensor:
            found = self.bonded(free[k] + r) / masses + 0.25 * rate**2 * r
            return found if pushes is None else found + pushes[k]

        # With e^(γ(u−s)/2) taken out again, w is r, and w' is q = r' + γ r/2.
        r, q = torch.zeros_like(free[0]), torch.zeros_like(free[0])
        rs, a = [r], acceleration(0, r)
        for k in range(1, points, 2):
            q = q + step / 6.0 * a
            r, q = kept * (r + half * q), kept * q
            rs.append(r + step.square() / 24.0 * acceleration(k, r))
            q = q + 2.0 / 3.0 * step * acceleration(k, rs[-1])
            r, q = kept * (r + half * q), kept * q
            rs.append(r)
            a = acceleration(k + 1, r)
            q = q + step / 6.0 * a
        return free + torch.stack(rs), torch.stack([r, q - 0.5 * rate * r], dim=1)


@lru_cache
def nodes_shape(points: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return P_n(2θ − 1) for n < count at equally spaced nodes, (points, count)."""
    nodes = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    return shifted_legendre(nodes, count).to(device, dtype)


@lru_cache
def expansion_like(points: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `expansion` for values of a dtype on a device, where it stays."""
    return expansion(points, count).to(device, dtype)


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
    places = (np.arange(substeps)[:, None] + 0.5 + 0.5 * gauss) / substeps
    shares = torch.from_numpy(places).flatten()
    odd = 2.0 * torch.arange(count, dtype=torch.float64) + 1.0
    weights = torch.from_numpy(np.tile(0.5 * weight / substeps, substeps))[:, None] * odd
    return (shifted_legendre(shares, count) * weights).mT @ between(points, shares)
