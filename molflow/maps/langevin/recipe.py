"""How forces, and paths under them, train a map of Langevin dynamics with inertia."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from molflow.data.dataset import TrainingData, load_forces
from molflow.data.paths import PathData, load_paths
from molflow.errors import MolflowError
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
from molflow.maps.dynamics.rollouts import PLANNED, RolloutObjective
from molflow.maps.dynamics.validation import DynamicsScores
from molflow.maps.langevin.bonded_objective import BondedObjective
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.known_force import known_force, known_formula
from molflow.maps.langevin.path_steps import PathSteps, path_error
from molflow.maps.langevin.residual_file import save_residual
from molflow.maps.langevin.residual_fit import fit_residual_noise
from molflow.seeds import derive_seed
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch
from molflow.training.kinds import Ingredients, Material, Recipe


class LangevinRecipe(Recipe[InertialFlowMap]):
    """Force matching and steps of all lengths; residual noise once the weights are there."""

    def __init__(self, material: Material):
        self.material, settings = material, material.settings
        self.forces = load_forces(material.data)
        self.paths = usable_paths(material.data, settings)
        # Paths that teach nothing decide the residual noise, but not the weights.
        names = [force_hash(material.data)]
        if self.paths is not None and settings.objective.direct_share:
            names.append(self.paths.name)
        self.data_hash = "-".join(names)
        bonded = known_formula(self.forces, material.graph, settings.map.bonded)
        rest = self.forces.train[1].astype(np.float64)
        if bonded is not None:
            known = known_force(bonded, rest.shape[1])
            frames = torch.from_numpy(self.forces.train[0].astype(np.float64))
            rest = rest - torch.cat([known(part) for part in frames.split(1000)]).numpy()
        self.known = scales_of(
            self.forces, rest, material.data.scale, material.system, settings.map, bonded
        )

    def ingredients(self, flow_map: InertialFlowMap) -> Ingredients:
        """Return objective, batches and validation.

        Raises
        ------
        MolflowError
            If the order of paths or the length of their blocks does not fit the configuration, or
            the map knows bonded forces and an objective has no form for such maps.
        """
        material, settings = self.material, self.material.settings
        objective, steps = settings.objective, None
        if self.paths is not None:
            longest = objective.anchor[1]
            if objective.direct_share and longest >= self.paths.block:
                raise MolflowError(
                    f"objective.anchor ends at {longest:g} ps, and paths are stored in blocks of "
                    f"{self.paths.block:g} ps: let it end below."
                )
            steps = PathSteps(self.paths, settings.map.longest_lag)
        made = self._objective(flow_map)
        frames = frames_of(self.forces)
        size, friction = flow_map.basis.size, flow_map.friction

        def batches(epoch: Epoch) -> DynamicsBatches:
            taught = steps if objective.direct_share else None
            return DynamicsBatches(*frames, size, settings, friction, epoch, taught)

        along = None if steps is None else partial(path_error, steps)
        seed = derive_seed(settings.seed, "validation")
        scores = None
        if len(material.data.validation):
            scores = DynamicsScores(self.forces.validation, material.graph, settings, seed, along)
        asked = asks_for_derivatives(objective)
        curls = objective.curl_share > 0.0
        return Ingredients(made, batches, CLOCK, scores, asked, PLANNED, curls)

    def _objective(self, flow_map: InertialFlowMap) -> RolloutObjective:
        objective = self.material.settings.objective
        family = long_family(objective)
        if objective.curl_share and getattr(self.material.settings.network, "recompute", False):
            raise MolflowError(
                f"objective.curl_share is {objective.curl_share:g} and network.recompute is true, "
                "and layers that are computed again have no second derivatives: set one of them "
                "to 0 or false."
            )
        if self.known.bonded is None:
            if objective.curl_share:
                raise MolflowError(
                    f"objective.curl_share is {objective.curl_share:g}, and is for maps that know "
                    "bonded forces: set it to 0, or map.bonded to true or 'fitted'."
                )
            return DynamicsObjective(flow_map, objective, family, self.material.frozen)
        for name, share in (
            ("mean_flow_share", objective.mean_flow_share),
            ("direct_share", objective.direct_share),
        ):
            if share:
                raise MolflowError(
                    f"objective.{name} is {share:g}, and a map that knows bonded forces learns by "
                    "the semigroup alone: set it to 0, or map.bonded to false."
                )
        if family is not None:
            raise MolflowError(
                f"objective.family is {objective.family}, and a map that knows bonded forces "
                "learns by the semigroup alone: leave it out, or set map.bonded to false."
            )
        return BondedObjective(flow_map, objective)

    def finish(self, folder: Path, flow_map: InertialFlowMap) -> None:
        """Fit the residual noise, where there are paths under the true force."""
        if self.paths is None or self.material.graph.n_atoms <= 2:
            return
        steps = PathSteps(self.paths, self.material.settings.map.longest_lag)
        save_residual(folder, fit_residual_noise(flow_map, steps, self.material.graph))


def usable_paths(data: TrainingData, settings: TrainingConfig) -> PathData | None:
    """Return the paths of a training set that teach a map, or that only test it and give its
    residual noise; None if there are none that fit.

    Raises
    ------
    MolflowError
        If the configuration asks for paths that are not there, damaged or of another order.
    """
    direct = settings.objective.direct_share
    if not direct and "paths" not in data.manifest:
        return None
    paths = load_paths(data)
    if direct:
        paths.check_use(settings.map.order)
        return paths
    fits = paths.order == settings.map.order and paths.block <= settings.map.longest_lag
    return paths if fits else None
