"""How conformations train a map that samples from noise."""

from __future__ import annotations

from molflow.analysis.weighting import normalised
from molflow.maps.denoiser.batches import StepBatches, TimeLaw, local_counts, scaled_positions
from molflow.maps.denoiser.chemistry import chemistry_for
from molflow.maps.denoiser.flow_map import DenoiserFlowMap, etas_of
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.maps.denoiser.stiff_norm import StiffNorm, stiff_pairs
from molflow.maps.denoiser.validation import SampleScores
from molflow.nn.chemistry import Chemistry
from molflow.objectives.registry import OBJECTIVES
from molflow.training.fit import Epoch
from molflow.training.kinds import Ingredients, Material, Recipe


class DenoiserRecipe(Recipe[DenoiserFlowMap]):
    """Matching at all noise levels, and a family of objectives for long steps.

    Parameters
    ----------
    material : Material
    known : Chemistry, optional
        Of all molecules of the training; by default of this one, if its network is one of many.
    """

    scale: float

    def __init__(self, material: Material, known: Chemistry | None = None):
        self.material = material
        self.known = chemistry_for([material]) if known is None else known
        self.scale = material.data.scale if self.known is None else self.known.unit
        self.data_hash = material.data.manifest["data_hash"]
        if material.data.train_log_weights is not None:
            self.data_hash += f"-{material.data.manifest['weights_sha256']['train']}"

    def ingredients(self, flow_map: DenoiserFlowMap) -> Ingredients:
        """Return objective, batches and validation."""
        settings = self.material.settings
        return self.parts(flow_map, settings.batch_size, settings.seed)

    def parts(self, flow_map: DenoiserFlowMap, batch_size: int, seed: int) -> Ingredients:
        """Return the ingredients with another batch size and seed than the settings say."""
        material, settings = self.material, self.material.settings
        objective, data = settings.objective, material.data
        family = OBJECTIVES[objective.family]
        pairs = stiff_pairs(material.graph)
        norm = StiffNorm(flow_map.sde, pairs, objective.stiffness, objective.stiff_below)
        law = TimeLaw(flow_map.clock, objective)
        positions = scaled_positions(data.train, self.scale)
        weights = normalised(data.train_log_weights)

        def batches(epoch: Epoch) -> StepBatches:
            local = local_counts(objective, batch_size, epoch.first, epoch.count)
            size = flow_map.basis.size
            return StepBatches(
                positions, law, size, batch_size, local, seed, epoch, weights,
                objective.rare_share, etas_of(flow_map),
                flow_map.sde if objective.averaged_over else None,
            )  # fmt: skip

        return Ingredients(
            DenoiserObjective(family, norm, material.frozen),
            batches,
            flow_map.sde.duration,
            SampleScores(material, self.scale) if len(data.validation) else None,
            f"objective.family = {objective.family}" if family.derivatives else "",
        )
