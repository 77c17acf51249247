"""The objective of a map that samples from noise: matching, short steps and long ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.maps.denoiser.anchor import anchored_residual
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.norm import Norm
from molflow.objectives.registry import LongSteps
from molflow.objectives.residuals import Residuals


class DenoiserObjective(nn.Module):
    """Local matching for a part of the batch; the other steps are short or long ones.

    Parameters
    ----------
    family : LongSteps
        What the long steps have to obey.
    norm : Norm
        How errors of the mean denoiser are measured.
    frozen : FlowMap, optional
        The teacher of families whose teacher is frozen.
    """

    def __init__(self, family: LongSteps, norm: Norm, frozen: FlowMap | None = None):
        super().__init__()
        self.family, self.norm, self.frozen = family, norm, frozen

    def forward(
        self, flow_map: DenoiserFlowMap, teacher: DenoiserFlowMap, batch: dict[str, Tensor]
    ) -> list[Residuals]:
        """Return the residuals of one batch of `StepBatches`."""
        clean, normal, s = batch["clean"], batch["normal"], batch["local_time"]
        local, frozen = len(s), self.frozen
        if "eta" in batch:
            eta = float(batch["eta"])
            flow_map, teacher = flow_map.at(eta), teacher.at(eta)
            frozen = frozen.at(eta) if isinstance(frozen, DenoiserFlowMap) else frozen
        target = batch.get("target", clean[:local])
        noisy = noised(clean[:local], flow_map.sde.sigma(s), normal[:local])
        values = matching_residual(flow_map, s, noisy, target, self.norm)
        if "importance" in batch:
            values = values * batch["importance"]
        found = [Residuals(values, s, s, {"local": local})]
        if len(batch["start"]):
            found += self._steps(flow_map, teacher, frozen, batch, clean[local:], normal[local:])
        return found

    def _steps(
        self, flow_map, teacher, frozen, batch: dict[str, Tensor], clean: Tensor, normal: Tensor
    ) -> list[Residuals]:
        s, t, k = batch["start"], batch["end"], int(batch["anchored"])
        x = noised(clean, flow_map.sde.sigma(s), normal)
        basis, duration = flow_map.basis, flow_map.sde.duration
        values, ends, parts = [], [], {}
        if k:
            one, u = slice(k), 0.5 * (s[:k] + t[:k])
            left = Increment.from_whitened(basis, u - s[one], batch["left"][one])
            right = Increment.from_whitened(basis, t[one] - u, batch["right"][one])
            joined = join(left, right)
            values.append(
                anchored_residual(flow_map, teacher, s[one], t[one], x[one], joined, self.norm)
            )
            ends.append(t[one])
            parts["anchor"] = k
        if k < len(s):
            two, own = slice(k, None), {"average": teacher, "frozen": frozen}
            u, end = self.family.times(s[two], t[two], duration, batch["share"][two])
            left = Increment.from_whitened(basis, u - s[two], batch["left"][two])
            right = Increment.from_whitened(basis, end - u, batch["right"][two])

            def sample(time: Tensor, state: Tensor) -> Tensor:
                """The data themselves, whose mean given a state is the denoiser."""
                return clean[two]

            values.append(
                self.family.residual(
                    flow_map, own.get(self.family.teacher),
                    sample if self.family.teacher == "none" else None,
                    s[two], u, end, x[two], left, right, self.norm,
                )
            )  # fmt: skip
            ends.append(end)
            parts["semigroup"] = len(s) - k
        return [Residuals(torch.cat(values), s, torch.cat(ends), parts)]
