"""Published objectives by name: which equation is enforced, on which steps, against what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.norm import Norm, mean_square
from molflow.objectives.semigroup import semigroup_residual
from molflow.sde.base import Nonlinear


@dataclass(frozen=True)
class Family:
    """A global objective: what the published methods of that family differ in.

    Parameters
    ----------
    equation : {"semigroup", "lagrangian", "eulerian", "mean_flow"}
        Which property of the map is enforced.
    end : {"any", "last"}
        Whether t is free or the last time of the equation.
    middle : {"half", "any", "near"}
        Where a semigroup step is divided: in the middle, anywhere, or at 1/64 after its start.
    drift : {"given", "own"}
        Whether n is given (exact, a sample of it, or a frozen model's), or is the map's own
        at s = t, which `matching_residual` then has to teach.
    opening : {"map", "given"}
        Whether the first part of a semigroup step is walked by the teacher, or by one
        exponential Euler step with the given n.
    """

    equation: Literal["semigroup", "lagrangian", "eulerian", "mean_flow"]
    end: Literal["any", "last"] = "any"
    middle: Literal["half", "any", "near"] = "half"
    drift: Literal["given", "own"] = "given"
    opening: Literal["map", "given"] = "map"

    def times(
        self, s: Tensor, t: Tensor, last: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return u and t for steps drawn as [s, t], all (B,).

        Parameters
        ----------
        s, t : Tensor, (B,)
        last : float
            The last time of the equation.
        """
        if self.end == "last":
            t = torch.full_like(t, last)
        if not bool((s < t).all()):
            raise MolflowError("A step of no length was drawn: every s must be before its t.")
        if self.middle == "any":
            share = torch.rand(s.shape, generator=generator, dtype=s.dtype, device=s.device)
        else:
            share = torch.full_like(s, {"half": 0.5, "near": 1.0 / 64.0}[self.middle])
        return s + share * (t - s), t

    def residual(
        self,
        flow_map: FlowMap,
        teacher: FlowMap,
        nonlinear: Nonlinear | None,
        s: Tensor,
        u: Tensor,
        t: Tensor,
        x: Tensor,
        left: Increment,
        right: Increment,
        norm: Norm = mean_square,
    ) -> Tensor:
        """Return the residual of the family, (B,).

        Parameters
        ----------
        teacher : FlowMap
            The map itself (self-distillation), an average of it, or a frozen one.
        nonlinear : callable, or None
            n(t, X) where the family wants it given; a sample of it for "mean_flow".
        s, u, t : Tensor, (B,)
            From `times`.
        x : Tensor, (B, *shape)
            State at s.
        left, right : Increment
            Over [s, u] and [u, t].
        """
        if self.drift == "own":
            nonlinear = own_drift(teacher)
        elif nonlinear is None and (self.equation != "semigroup" or self.opening == "given"):
            raise MolflowError(f"{self} needs n(t, X): give `nonlinear`.")
        if self.equation == "semigroup":
            first = None
            if self.opening == "given":
                first = FrozenFlowMap(nonlinear, flow_map.sde, flow_map.basis)
            ends = s, u, t
            return semigroup_residual(flow_map, teacher, *ends, x, left, right, norm, first)
        whole = join(left, right)
        if self.equation == "lagrangian":
            return lagrangian_residual(flow_map, nonlinear, s, t, x, whole, norm)
        enforce = {"eulerian": eulerian_residual, "mean_flow": mean_flow_residual}[self.equation]
        return enforce(flow_map, s, t, x, nonlinear(s, x), whole, norm)


def own_drift(flow_map: FlowMap) -> Nonlinear:
    """Return n as the map has it at s = t, without gradient."""

    def nonlinear(t: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            return flow_map.mean(t, t, x, x.new_zeros(*x.shape, flow_map.basis.size))

    return nonlinear


#: With g = 0 these are the published methods; with noise their strong counterparts.
FAMILIES = {
    # Song et al. 2023 (2303.01469), continuous time, t pinned to the end.
    "consistency_model": Family("mean_flow", end="last"),
    # Kim et al. 2024 (2310.02279), with one solver step at the start.
    "consistency_trajectory": Family("semigroup", middle="near", opening="given"),
    # Salimans and Ho 2022 (2202.00512): the teacher is the frozen map of the stage before.
    "progressive_distillation": Family("semigroup"),
    # Frans et al. 2025 (2410.12557): the teacher is an average of the map.
    "shortcut": Family("semigroup"),
    # Geng et al. 2025 (2505.13447).
    "mean_flow": Family("mean_flow"),
    # Sabour, Fidler and Kreis 2025 (2506.14603), Eulerian form: n of a frozen model.
    "align_your_flow": Family("mean_flow"),
    # Boffi, Albergo and Vanden-Eijnden 2024 (2406.07507): n of a frozen model.
    "lagrangian_distillation": Family("lagrangian"),
    "eulerian_distillation": Family("eulerian"),
    # The same authors 2025 (2505.18825): self-distillation.
    "lsd": Family("lagrangian", drift="own"),
    "esd": Family("eulerian", drift="own"),
    "psd": Family("semigroup", middle="any"),
}
