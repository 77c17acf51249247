"""The map that samples from noise, as the verbs know it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from molflow.flow_map.base import FlowMap
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserConfig, DenoiserObjectiveConfig
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import build_network
from molflow.objectives.families import FACTOR, LAST
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.section import Section
from molflow.training.kinds import MapKind, Material, Recipe


class DenoiserKind(MapKind):
    """Strong maps of reverse diffusions."""

    use: ClassVar = "sample"
    description: ClassVar = (
        "samples independent conformations from noise and knows no dynamics: use molflow sample, "
        "or train with map.kind=langevin"
    )
    configuration: ClassVar = DenoiserConfig
    objective: ClassVar = DenoiserObjectiveConfig
    offers: ClassVar = frozenset({LAST, FACTOR})

    def build(
        self, graph: MolecularGraph, network: Section, config: DenoiserConfig, known: Any = None
    ) -> FlowMap:
        """Return an untrained map."""
        sde = ReverseDiffusion(config.sigma_max, config.sigma_min, config.eta)
        inputs = sde.basis(config.order).size
        made = build_network(
            network, graph, inputs, sde.duration, sde.sigma_max, setting=config.etas is not None
        )
        centre = math.log(config.sigma_max / config.focus)
        clock = StepClock(sde.duration, centre, config.focus_weight)
        return DenoiserFlowMap(made, sde, config.order, clock, config.etas)

    def recipe(self, material: Material) -> Recipe:
        """Return how conformations train such a map."""
        from molflow.maps.denoiser.recipe import DenoiserRecipe

        return DenoiserRecipe(material)

    def basis_size(self, config: DenoiserConfig) -> int:
        """Return the features of an increment: the probability flow has no rate."""
        return config.order + int(config.eta > 0)


DENOISER = DenoiserKind()
