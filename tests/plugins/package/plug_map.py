"""A kind of map: a reverse diffusion whose network says all of the denoiser itself."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserObjectiveConfig
from molflow.maps.denoiser.recipe import DenoiserRecipe
from molflow.nn.registry import build_network
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.section import Section
from molflow.training.kinds import MapKind


class PlugMapConfig(Section):
    """The reverse diffusion, with two coefficients."""

    kind: Literal["plug"] = "plug"
    sigma_max: float = Field(4.0, gt=0)


class PlugFlowMap(FlowMap):
    """D̄ is what the network returns."""

    sde: ReverseDiffusion

    def __init__(self, network, sde):
        super().__init__()
        self.network, self.sde, self.basis = network, sde, sde.basis(2)
        self.clock = StepClock(sde.duration)

    def mean(self, s, t, x, whitened):
        scale = torch.rsqrt(1.0 + self.sde.sigma(s).square()).reshape(-1, 1, 1)
        visible = (t - s).clamp(max=1.0).reshape(-1, 1, 1, 1)
        return centre(self.network(scale * x, visible * whitened, s, t))


class PlugKind(MapKind):
    """All that the verbs know of it."""

    use = "sample"
    description = "samples from noise: use molflow sample"
    configuration, objective = PlugMapConfig, DenoiserObjectiveConfig
    network = {"kind": "plug", "width": 3}

    def build(self, graph, network, config, known=None):
        sde = ReverseDiffusion(config.sigma_max, 0.01, 1.0)
        made = build_network(network, graph, sde.basis(2).size, sde.duration, sde.sigma_max)
        return PlugFlowMap(made, sde)

    def recipe(self, material):
        return DenoiserRecipe(material)


KIND = PlugKind()
