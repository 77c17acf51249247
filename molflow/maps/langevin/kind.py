"""The map of Langevin dynamics with inertia, as the verbs know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from molflow.flow_map.base import FlowMap
from molflow.maps.dynamics.configuration import DynamicsObjectiveConfig
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.configuration import LangevinConfig
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.langevin.residual_noise import ResidualNoise
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import build_network
from molflow.section import Section
from molflow.training.kinds import MapKind, Material, Recipe


class LangevinKind(MapKind):
    """Strong maps of Langevin dynamics; those that know bonded forces and those that do not."""

    use: ClassVar = "propagate"
    description: ClassVar = (
        "is a map of Langevin dynamics, which starts from a structure and not from noise: use "
        "molflow propagate"
    )
    configuration: ClassVar = LangevinConfig
    objective: ClassVar = DynamicsObjectiveConfig
    network: ClassVar = {"scalars": 48, "vectors": 24, "layers": 3}

    def build(
        self, graph: MolecularGraph, network: Section, config: LangevinConfig, known: Any = None
    ) -> FlowMap:
        """Return an untrained map; `known` are `LangevinScales`."""
        kind = LangevinFlowMap if known.bonded is None else BondedLangevinFlowMap
        # There is no noise on the positions.
        made = build_network(network, graph, kind.inputs(config.order), CLOCK, 0.0, kind.outputs)
        return kind(made, known, config.order)

    def recipe(self, material: Material) -> Recipe:
        """Return how forces, and paths under them, train such a map."""
        from molflow.maps.langevin.recipe import LangevinRecipe

        return LangevinRecipe(material)

    def check(self, settings) -> None:
        """Raise ValueError if parts of a configuration do not go together."""
        from molflow.maps.dynamics.recipe import check_dynamics

        if settings.objective.direct_share and settings.objective.frictions:
            raise ValueError(
                "objective.frictions is of no use with objective.direct_share, where frictions are "
                "those of the paths: leave it out"
            )
        check_dynamics(settings)

    def basis_size(self, config: LangevinConfig) -> int:
        """Return the features of an increment."""
        return config.order + 1

    def fixed(self, config: LangevinConfig) -> dict[str, Any]:
        """Return the settings in which a run must agree with one that it starts from."""
        return {"map.longest_lag": config.longest_lag}

    def describe(self, flow_map: BondedLangevinFlowMap) -> dict[str, Any]:
        """Return masses, sizes of forces and the state of reference."""
        return {"dynamics": flow_map.scales.to_dict()}

    def known(self, description: dict[str, Any]) -> LangevinScales:
        """Return them from a description."""
        return LangevinScales.from_dict(description["dynamics"])

    def residual(self, folder: Path, description: dict[str, Any]) -> ResidualNoise | None:
        """Return the residual noise of a map that was trained along paths."""
        from molflow.maps.langevin.residual_file import load_residual

        return load_residual(folder, description)


LANGEVIN = LangevinKind()
