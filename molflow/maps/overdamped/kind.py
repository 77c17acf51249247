"""The map of overdamped Langevin dynamics, as the verbs know it."""

from __future__ import annotations

from typing import Any, ClassVar

from molflow.flow_map.base import FlowMap
from molflow.maps.dynamics.configuration import DynamicsObjectiveConfig
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.overdamped.configuration import OverdampedConfig
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import build_network
from molflow.objectives.families import FACTOR
from molflow.section import Section
from molflow.training.kinds import MapKind, Material, Recipe


class OverdampedKind(MapKind):
    """Strong maps of overdamped Langevin dynamics."""

    use: ClassVar = "propagate"
    description: ClassVar = (
        "is a map of Langevin dynamics, which starts from a structure and not from noise: use "
        "molflow propagate"
    )
    configuration: ClassVar = OverdampedConfig
    objective: ClassVar = DynamicsObjectiveConfig
    network: ClassVar = {"scalars": 48, "vectors": 24, "layers": 3}
    offers: ClassVar = frozenset({FACTOR})

    def build(
        self, graph: MolecularGraph, network: Section, config: OverdampedConfig, known: Any = None
    ) -> FlowMap:
        """Return an untrained map; `known` are `LangevinScales`."""
        inputs, outputs = OverdampedFlowMap.inputs(config.order), OverdampedFlowMap.outputs
        # There is no noise on the positions.
        made = build_network(network, graph, inputs, CLOCK, 0.0, outputs)
        return OverdampedFlowMap(made, known, config.order)

    def recipe(self, material: Material) -> Recipe:
        """Return how forces train such a map."""
        from molflow.maps.overdamped.recipe import OverdampedRecipe

        return OverdampedRecipe(material)

    def check(self, settings) -> None:
        """Raise ValueError if parts of a configuration do not go together."""
        from molflow.maps.dynamics.recipe import check_dynamics

        if settings.objective.frictions:
            raise ValueError(
                "objective.frictions is of no use where map.kind = overdamped, which knows every "
                "friction from one: leave it out"
            )
        for name, why in (
            ("direct_share", "whose paths have inertia"),
            ("curl_share", "which may know bonded forces"),
        ):
            if getattr(settings.objective, name):
                raise ValueError(f"objective.{name} is for map.kind = langevin, {why}: set it to 0")
        check_dynamics(settings)

    def basis_size(self, config: OverdampedConfig) -> int:
        """Return the features of an increment."""
        return config.order

    def fixed(self, config: OverdampedConfig) -> dict[str, Any]:
        """Return the settings in which a run must agree with one that it starts from."""
        return {"map.longest_lag": config.longest_lag}

    def describe(self, flow_map: OverdampedFlowMap) -> dict[str, Any]:
        """Return masses, sizes of forces and the state of reference."""
        return {"dynamics": flow_map.scales.to_dict()}

    def known(self, description: dict[str, Any]) -> LangevinScales:
        """Return them from a description."""
        return LangevinScales.from_dict(description["dynamics"])


OVERDAMPED = OverdampedKind()
