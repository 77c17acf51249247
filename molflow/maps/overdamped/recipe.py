"""How forces train a map of overdamped Langevin dynamics."""

from __future__ import annotations

from molflow.data.dataset import load_forces
from molflow.maps.dynamics.batches import DynamicsBatches
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.objective import DynamicsObjective
from molflow.maps.dynamics.recipe import (
    asks_for_derivatives,
    force_hash,
    frames_of,
    long_family,
    scales_of,
)
from molflow.maps.dynamics.rollouts import PLANNED
from molflow.maps.dynamics.validation import DynamicsScores
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.seeds import derive_seed
from molflow.training.fit import Epoch
from molflow.training.kinds import Ingredients, Material, Recipe


class OverdampedRecipe(Recipe[OverdampedFlowMap]):
    """Force matching and steps of all lengths."""

    def __init__(self, material: Material):
        self.material, settings = material, material.settings
        self.forces = load_forces(material.data)
        self.data_hash = force_hash(material.data)
        self.known = scales_of(
            self.forces, self.forces.train[1], material.data.scale, material.system, settings.map
        )

    def ingredients(self, flow_map: OverdampedFlowMap) -> Ingredients:
        """Return objective, batches and validation."""
        material, settings = self.material, self.material.settings
        objective, frames = settings.objective, frames_of(self.forces)

        def batches(epoch: Epoch) -> DynamicsBatches:
            size, friction = flow_map.basis.size, flow_map.friction
            return DynamicsBatches(*frames, size, settings, friction, epoch)

        scores = None
        if len(material.data.validation):
            seed = derive_seed(settings.seed, "validation")
            scores = DynamicsScores(self.forces.validation, material.graph, settings, seed)
        return Ingredients(
            DynamicsObjective(flow_map, objective, long_family(objective), material.frozen),
            batches,
            CLOCK,
            scores,
            asks_for_derivatives(objective),
            PLANNED,
        )
