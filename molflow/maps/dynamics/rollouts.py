"""Steps of maps of dynamics from states that the teacher has reached."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from molflow.brownian.increment import Increment
from molflow.devices import upload
from molflow.maps.dynamics.configuration import DynamicsObjectiveConfig
from molflow.maps.dynamics.flow_map import CLOCK, DynamicsFlowMap
from molflow.objectives.residuals import Residuals

#: Entries of a batch that stay on the processor, where steps are planned.
PLANNED = ("lag", "path_lag")


class RolloutObjective(nn.Module):
    """What objectives of maps of dynamics have in common: rollouts that are kept going.

    The ends of steps of the teacher are kept in the buffer `rollouts` and go on from there in later
    batches, until they begin anew from a frame of the data, at random or because they are broken.
    The buffer is part of the resumable state.

    Parameters
    ----------
    flow_map : DynamicsFlowMap
        A map of the kind that is trained, which gives the shape of states.
    config : DynamicsObjectiveConfig
    """

    rollouts: Tensor
    ages: Tensor

    def __init__(self, flow_map: DynamicsFlowMap, config: DynamicsObjectiveConfig):
        super().__init__()
        self.longest_lag = flow_map.scales.longest_lag
        shape = flow_map.state_shape
        self.register_buffer("rollouts", torch.zeros(config.rollouts, *shape))
        #: Steps since a rollout began; 0 for none yet.
        self.register_buffer("ages", torch.zeros(config.rollouts, dtype=torch.long))

    def clock(self, h: Tensor) -> Tensor:
        """Return lags on the clock of networks and of the weight of the loss, on the device."""
        return upload(CLOCK * h / self.longest_lag, self.rollouts.device)

    def starts(self, x: Tensor, batch: dict[str, Any]) -> Tensor:
        """Put the states of rollouts that go on in the places of frames."""
        slots, first = batch["slots"], batch["anchored"]
        if not len(slots):
            return x
        anew = batch["restart"] | (self.ages[slots] == 0)
        self.ages[slots] = torch.where(anew, 0, self.ages[slots])
        fresh = x[first : first + len(slots)]
        shape = (-1,) + (1,) * (x.ndim - 1)
        rolled = torch.where(anew.reshape(shape), fresh, self.rollouts[slots])
        return torch.cat([x[:first], rolled, x[first + len(slots) :]])

    def keep(
        self, flow_map: DynamicsFlowMap, states: Tensor, slots: Tensor
    ) -> dict[str, tuple[Tensor, int]]:
        """Keep the ends of rollouts that are whole; the others begin anew. Return how they are."""
        whole, watched = flow_map.whole(states)
        self.rollouts[slots] = torch.where(
            whole.reshape((-1,) + (1,) * (states.ndim - 1)), states, 0.0
        )
        self.ages[slots] = torch.where(whole, self.ages[slots] + 1, 0)
        count = len(states)
        return {f"rollouts/{name}": value for name, value in watched.items()} | {
            "rollouts/broken": (1.0 - whole.float().mean(), count),
            "rollouts/age": (self.ages[slots].float().mean(), count),
        }


def halves_of(flow_map: DynamicsFlowMap, batch: dict[str, Any]) -> tuple[Increment, Increment]:
    """Return the increments of both halves of the steps of a batch."""
    half = 0.5 * batch["lag"]
    left, right = (
        Increment.from_whitened(flow_map.basis, half, batch[name]) for name in ("left", "right")
    )
    return left, right


def part_of(
    batch: dict[str, Any], part: slice, left: Increment, right: Increment
) -> tuple[Tensor, Tensor, list[Increment]]:
    """Return the ends of some steps and the increments of their halves."""
    t = batch["lag"][part]
    halves = [
        Increment.from_whitened(one.basis, one.h[part], one.whitened()[part])
        for one in (left, right)
    ]
    return torch.zeros_like(t), t, halves


def residuals_of(
    objective: RolloutObjective,
    error: Tensor,
    h: Tensor,
    batch: dict[str, Any],
    watched: dict[str, tuple[Tensor, int]],
) -> Residuals:
    """Return errors of a batch, those of its parts in their order."""
    local, k, m = batch["local"], batch["anchored"], batch["mean_flow"]
    direct = len(batch.get("path_lag", ()))
    parts = {
        "local": local,
        "anchor": k,
        "semigroup": len(error) - local - k - m - direct,
        "mean_flow": m,
        "direct": direct,
    }
    t = objective.clock(h).float()
    return Residuals(error, torch.zeros_like(t), t, parts, watched)
