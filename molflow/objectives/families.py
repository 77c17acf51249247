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

#: What a family may need of an equation or a run, in words.
LAST, FACTOR, START = "a last time", "a gain that is a factor", "a map to start from"
NEEDS = frozenset({LAST, FACTOR, START})


@dataclass(frozen=True)
class Family:
    """A global objective: what the published methods of that family differ in.

    Parameters
    ----------
    equation : {"semigroup", "lagrangian", "eulerian", "mean_flow"}
        Which property of the map is enforced.
    teacher : {"none", "self", "average", "frozen"}
        Who says what n is, or walks the short steps: nobody, so that n is given, or for
        "mean_flow" a sample of it; the map itself without gradient, whose n at s = t
        `matching_residual` then has to teach; an average of its weights; or a trained map that
        stays, which may be a `FrozenFlowMap` of any known or learned n.
    end : {"any", "last"}
        Whether t is free or the last time of the equation.
    middle : {"half", "any", "near"}
        Where a semigroup step is divided: in the middle, anywhere, or at 1/64 after its start.
    opening : {"map", "solver"}
        Whether the teacher walks both parts of a semigroup step, or only the first, by one
        exponential Euler step, and the map itself the second.
    """

    equation: Literal["semigroup", "lagrangian", "eulerian", "mean_flow"]
    teacher: Literal["none", "self", "average", "frozen"]
    end: Literal["any", "last"] = "any"
    middle: Literal["half", "any", "near"] = "half"
    opening: Literal["map", "solver"] = "map"

    @property
    def needs(self) -> frozenset[str]:
        """What it needs, of `NEEDS`."""
        asked = {
            LAST: self.end == "last",
            FACTOR: self.equation == "lagrangian",
            START: self.teacher == "frozen",
        }
        return frozenset(name for name, needed in asked.items() if needed)

    @property
    def derivatives(self) -> bool:
        """Whether it differentiates the network by its inputs."""
        return self.equation != "semigroup"

    def times(
        self, s: Tensor, t: Tensor, last: float, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return u and t for steps drawn as [s, t], all (B,).

        Parameters
        ----------
        s, t : Tensor, (B,)
        last : float
            The last time of the equation.
        share : Tensor, (B,)
            Uniform random numbers between 0 and 1.

        Raises
        ------
        MolflowError
            If a step has no length. Only on the CPU: an accelerator would have to be waited for.
        """
        if self.end == "last":
            t = torch.full_like(t, last)
        if s.device.type == "cpu" and not bool((s < t).all()):
            raise MolflowError("A step of no length was drawn: every s must be before its t.")
        if self.middle == "half":
            return 0.5 * (s + t), t
        if self.middle == "any":
            return s + share * (t - s), t
        return s + (t - s) / 64.0, t

    def residual(
        self,
        flow_map: FlowMap,
        teacher: FlowMap | None,
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
        teacher : FlowMap, or None
            For the families with the teacher "average" or "frozen".
        nonlinear : callable, or None
            n(t, X), or a sample of it for "mean_flow", for those with the teacher "none".
        s, u, t : Tensor, (B,)
            From `times`.
        x : Tensor, (B, *shape)
            State at s.
        left, right : Increment
            Over [s, u] and [u, t].

        Raises
        ------
        MolflowError
            If what the family needs is missing, or is there and would not be used.
        """
        if (nonlinear is None) == (self.teacher == "none"):
            wanted = "give n(t, X) as" if nonlinear is None else "leave out"
            raise MolflowError(f"The teacher of {self} is {self.teacher!r}: {wanted} `nonlinear`.")
        if (teacher is None) == (self.teacher in ("average", "frozen")):
            wanted = "give a flow map as" if teacher is None else "leave out"
            raise MolflowError(f"The teacher of {self} is {self.teacher!r}: {wanted} `teacher`.")
        teacher = flow_map if teacher is None else teacher
        if self.equation == "semigroup":
            first = None
            if self.opening == "solver":
                first = FrozenFlowMap(own_drift(teacher), flow_map.sde, flow_map.basis)
                teacher = flow_map
            ends = s, u, t
            return semigroup_residual(flow_map, teacher, *ends, x, left, right, norm, first)
        whole, n = join(left, right), nonlinear or own_drift(teacher)
        if self.equation == "lagrangian":
            return lagrangian_residual(flow_map, n, s, t, x, whole, norm)
        enforce = {"eulerian": eulerian_residual, "mean_flow": mean_flow_residual}[self.equation]
        return enforce(flow_map, s, t, x, n(s, x), whole, norm)


def own_drift(flow_map: FlowMap) -> Nonlinear:
    """Return n as the map has it at s = t, without gradient."""

    def nonlinear(t: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            return flow_map.mean(t, t, x, flow_map.no_features(x))

    return nonlinear


#: With g = 0 these are the published methods; with noise their strong counterparts.
FAMILIES = {
    # The semigroup of strong flow maps (2606.01086), halved, against an average of the weights.
    "semigroup": Family("semigroup", "average"),
    # Song et al. 2023 (2303.01469): training in continuous time, t pinned to the end.
    "consistency_model": Family("mean_flow", "none", end="last"),
    # Kim et al. 2024 (2310.02279), with one step of the solver in front.
    "consistency_trajectory": Family("semigroup", "frozen", middle="near", opening="solver"),
    # Salimans and Ho 2022 (2202.00512): the teacher is the map of the stage before.
    "progressive_distillation": Family("semigroup", "frozen"),
    # Frans et al. 2025 (2410.12557): the same without noise.
    "shortcut": Family("semigroup", "average"),
    # Geng et al. 2025 (2505.13447).
    "mean_flow": Family("mean_flow", "none"),
    # Sabour, Fidler and Kreis 2025 (2506.14603), the Eulerian form.
    "align_your_flow": Family("mean_flow", "frozen"),
    # Boffi, Albergo and Vanden-Eijnden 2024 (2406.07507).
    "lagrangian_distillation": Family("lagrangian", "frozen"),
    "eulerian_distillation": Family("eulerian", "frozen"),
    # The same authors 2025 (2505.18825): self-distillation.
    "lsd": Family("lagrangian", "self"),
    "esd": Family("eulerian", "self"),
    "psd": Family("semigroup", "self", middle="any"),
}
