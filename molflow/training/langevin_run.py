"""What a training run of a map of dynamics is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from molflow.data.dataset import ForceData
from molflow.flow_map.langevin import LangevinFlowMap
from molflow.flow_map.langevin_scales import LangevinScales
from molflow.flow_map.overdamped import OverdampedFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.training.configuration import TrainingConfig
from molflow.training.langevin_batches import LangevinBatches
from molflow.training.langevin_module import LangevinTraining
from molflow.training.langevin_validation import LangevinValidation
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
    sizes = np.sqrt((forces.train[1].astype(np.float64) ** 2).mean(axis=(0, 2)))
    return LangevinScales(
        masses=tuple(forces.masses.tolist()),
        forces=tuple(sizes.tolist()),
        length=length,
        temperature=system.temperature,
        friction=system.friction if config.friction is None else config.friction,
        longest_lag=config.longest_lag,
    )


def dynamics_parts(
    flow_map: LangevinFlowMap | OverdampedFlowMap,
    forces: ForceData,
    graph: MolecularGraph,
    settings: TrainingConfig,
) -> tuple[LangevinTraining, Callable, LangevinValidation]:
    """Return module, source of batches and validation of a map of dynamics."""
    pairs = zip(forces.train, forces.hot, strict=True)
    positions, pulls = (torch.from_numpy(np.concatenate(pair)) for pair in pairs)

    def make(epoch: int, first: int, count: int) -> LangevinBatches:
        return LangevinBatches(
            positions, pulls, flow_map.basis.size, settings, flow_map.friction, epoch, first, count
        )

    seed = derive_seed(settings.seed, "validation")
    validation = LangevinValidation(forces.validation, graph, settings, seed)
    return LangevinTraining(flow_map, settings), make, validation
