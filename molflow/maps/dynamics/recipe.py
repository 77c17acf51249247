"""What a training run of a map of dynamics is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from molflow.data.dataset import ForceData, TrainingData
from molflow.data.paths import PathData, load_paths
from molflow.errors import MolflowError
from molflow.maps.dynamics.batches import LangevinBatches
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.maps.dynamics.objective import LangevinTraining
from molflow.maps.dynamics.rollouts import DynamicsTraining
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.dynamics.validation import LangevinValidation
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.bonded_objective import BondedLangevinTraining
from molflow.maps.langevin.path_steps import PathSteps
from molflow.nn.graph import MolecularGraph
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.training.configuration import TrainingConfig
from molflow.training.map_configuration import LangevinConfig


def langevin_scales(
    forces: ForceData, length: float, system: MolecularSystem, config: LangevinConfig
) -> LangevinScales:
    """Return masses, sizes of forces and the state of reference of a run.

    Parameters
    ----------
    forces : ForceData
    length : float
        Unit of the positions, nm.
    system : MolecularSystem
        Gives the temperature, and the friction unless the configuration does.
    config : LangevinConfig
    """
    bonded, rest = None, forces.train[1].astype(np.float64)
    if config.kind == "langevin" and config.bonded and forces.bonded:
        bonded = forces.bonded
        known = BondedForce(bonded, rest.shape[1])
        frames = torch.from_numpy(forces.train[0].astype(np.float64))
        rest = rest - torch.cat([known(part) for part in frames.split(1000)]).numpy()
    sizes = np.sqrt((rest**2).mean(axis=(0, 2)))
    return LangevinScales(
        masses=tuple(forces.masses.tolist()),
        forces=tuple(sizes.tolist()),
        length=length,
        temperature=system.temperature,
        friction=system.friction if config.friction is None else config.friction,
        longest_lag=config.longest_lag,
        bonded=bonded,
    )


def usable_paths(training: TrainingData, settings: TrainingConfig) -> PathData | None:
    """Return the paths of a training set that teach a map with inertia, or that only test it and
    give its residual noise; None if there are none that fit.

    Raises
    ------
    MolflowError
        If the configuration asks for paths that are not there, damaged or of another order.
    """
    if getattr(settings.map, "kind", None) != "langevin":
        return None
    direct = settings.objective.direct_share
    if not direct and "paths" not in training.manifest:
        return None
    paths = load_paths(training)
    if direct:
        paths.check_use(settings.map.order)
        return paths
    fits = paths.order == settings.map.order and paths.block <= settings.map.longest_lag
    return paths if fits else None


def dynamics_parts(
    flow_map: DynamicsFlowMap,
    forces: ForceData,
    graph: MolecularGraph,
    settings: TrainingConfig,
    paths: PathData | None,
) -> tuple[DynamicsTraining, Callable, LangevinValidation]:
    """Return module, source of batches and validation of a map of dynamics.

    Paths are those of `usable_paths`.

    Raises
    ------
    MolflowError
        If their order or the length of their blocks does not fit the configuration, or the map
        knows bonded forces and an objective has no form for such maps.
    """
    steps, direct = None, settings.objective.direct_share
    if paths is not None:
        longest = settings.objective.anchor[1]
        if direct and longest >= paths.block:
            raise MolflowError(
                f"objective.anchor ends at {longest:g} ps, and paths are stored in blocks of "
                f"{paths.block:g} ps: let it end below."
            )
        steps = PathSteps(paths, settings.map.longest_lag)
    pairs = zip(forces.train, forces.hot, strict=True)
    positions, pulls = (torch.from_numpy(np.concatenate(pair)) for pair in pairs)

    def make(epoch: int, first: int, count: int) -> LangevinBatches:
        return LangevinBatches(
            positions, pulls, flow_map.basis.size, settings, flow_map.friction, epoch, first, count,
            steps if direct else None,
        )  # fmt: skip

    seed = derive_seed(settings.seed, "validation")
    validation = LangevinValidation(forces.validation, graph, settings, seed, steps)
    bonded = isinstance(flow_map, BondedLangevinFlowMap)
    for name in ("mean_flow_share", "direct_share"):
        if bonded and (share := getattr(settings.objective, name)):
            raise MolflowError(
                f"objective.{name} is {share:g}, and a map that knows bonded forces learns by the "
                "semigroup alone: set it to 0, or map.bonded to false."
            )
    module = (BondedLangevinTraining if bonded else LangevinTraining)(flow_map, settings)
    return module, make, validation
