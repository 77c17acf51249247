"""Averages of the weights of a map over its training."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn

from molflow.flow_map.base import FlowMap


class Averages(nn.Module):
    """Exponential averages whose memory grows with the run, so that the start is soon forgotten.

    Parameters
    ----------
    flow_map : FlowMap
        The averages begin as copies of it.
    decays : float
        For each name the largest share of the average that a step keeps.
    """

    def __init__(self, flow_map: FlowMap, **decays: float):
        super().__init__()
        self.decays = decays
        self.maps = nn.ModuleDict({name: copy.deepcopy(flow_map) for name in decays})
        self.requires_grad_(False)

    def __getitem__(self, name: str) -> FlowMap:
        """Return the map with one of the averages as weights."""
        return cast(FlowMap, self.maps[name])

    @torch.no_grad()
    def update(self, flow_map: FlowMap, step: int) -> None:
        """Move the averages towards the map; `step` counts from 1, on the host."""
        current = [value.detach() for value in flow_map.parameters()]
        for name, decay in self.decays.items():
            kept = [value.detach() for value in self.maps[name].parameters()]
            if step == 1:
                torch._foreach_copy_(kept, current)
            else:
                torch._foreach_lerp_(kept, current, 1.0 - min(decay, step / (9.0 + step)))
