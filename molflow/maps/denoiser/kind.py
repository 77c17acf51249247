"""The map that samples from noise, as the verbs know it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from molflow.flow_map.base import FlowMap
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserConfig, DenoiserObjectiveConfig
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.nn.chemistry import Chemistry
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
        self,
        graph: MolecularGraph,
        network: Section,
        config: DenoiserConfig,
        known: Chemistry | None = None,
    ) -> FlowMap:
        """Return an untrained map."""
        sde = ReverseDiffusion(config.sigma_max, config.sigma_min, config.eta)
        inputs = sde.basis(config.order).size
        made = build_network(
            network, graph, inputs, sde.duration, sde.sigma_max, setting=config.etas is not None
        )
        centre = math.log(config.sigma_max / config.focus)
        clock = StepClock(sde.duration, centre, config.focus_weight)
        order, etas = config.order, config.etas
        if known is None:
            return DenoiserFlowMap(made, sde, order, clock, etas)
        network_of_many: Any = made
        network_of_many.speak_of([graph], known)
        return DenoiserFlowMap(made, sde, order, clock, etas, known.spread(graph), known)

    def recipe(self, material: Material) -> Recipe:
        """Return how conformations train such a map."""
        from molflow.maps.denoiser.recipe import DenoiserRecipe

        return DenoiserRecipe(material)

    def recipe_of_many(self, materials: Sequence[Material]) -> Recipe:
        """Return how conformations of several molecules train one map."""
        from molflow.maps.denoiser.recipe_of_many import RecipeOfMany

        return RecipeOfMany(materials)

    def describe(self, flow_map: DenoiserFlowMap) -> dict[str, Any]:
        """Return what was seen of chemistry, as ``chemistry``, of a network of many molecules."""
        chemistry = flow_map.chemistry
        return {} if chemistry is None else {"chemistry": chemistry.to_dict()}

    def known(self, description: dict[str, Any]) -> Chemistry | None:
        """Return what was seen of chemistry."""
        stored = description.get("chemistry")
        return None if stored is None else Chemistry.from_dict(stored)

    def basis_size(self, config: DenoiserConfig) -> int:
        """Return the features of an increment: the probability flow has no rate."""
        return config.order + int(config.eta > 0)


DENOISER = DenoiserKind()
