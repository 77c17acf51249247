"""What the recipes of all maps of dynamics have in common: forces, their sizes, the frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molflow.bonded_terms import BondedTerms
from molflow.data.dataset import HOT, ForceData, TrainingData
from molflow.maps.dynamics.configuration import DynamicsConfig, DynamicsObjectiveConfig
from molflow.maps.dynamics.scales import LangevinScales
from molflow.objectives.registry import OBJECTIVES, LongSteps
from molflow.systems import MolecularSystem
from molflow.training.configuration import TrainingConfig
from molflow.valence.formula import ValenceFormula


def force_hash(data: TrainingData) -> str:
    """Return what names the positions and forces of a training set."""
    hashes = data.manifest["dynamics"]["forces_sha256"]
    return "-".join([data.manifest["data_hash"], hashes["train"], hashes.get(HOT, "")])


def scales_of(
    forces: ForceData,
    rest: np.ndarray,
    length: float,
    system: MolecularSystem,
    config: DynamicsConfig,
    bonded: BondedTerms | ValenceFormula | None = None,
) -> LangevinScales:
    """Return masses, sizes of forces and the state of reference of a run.

    Parameters
    ----------
    forces : ForceData
    rest : ndarray, (frames, atoms, 3)
        The forces that the map has to learn, kJ/mol/nm.
    length : float
        Unit of the positions, nm.
    system : MolecularSystem
        Gives the temperature, and the friction unless the configuration does.
    config : DynamicsConfig
    bonded : BondedTerms or ValenceFormula, optional
        That the map knows.
    """
    sizes = np.sqrt((rest.astype(np.float64) ** 2).mean(axis=(0, 2)))
    return LangevinScales(
        masses=tuple(forces.masses.tolist()),
        forces=tuple(sizes.tolist()),
        length=length,
        temperature=system.temperature,
        friction=system.friction if config.friction is None else config.friction,
        longest_lag=config.longest_lag,
        bonded=bonded,
    )


def frames_of(forces: ForceData) -> tuple[Tensor, Tensor]:
    """Return positions and forces of all frames that teach, hot ones too, (frames, atoms, 3)."""
    pairs = zip(forces.train, forces.hot, strict=True)
    positions, pulls = (torch.from_numpy(np.concatenate(pair)) for pair in pairs)
    return positions, pulls


def check_dynamics(settings: TrainingConfig) -> None:
    """Raise ValueError if the settings of a map of dynamics do not go together."""
    objective = settings.objective
    if objective.anchor[1] >= settings.map.longest_lag:
        raise ValueError(
            f"objective.anchor ends at {objective.anchor[1]} ps, not below map.longest_lag = "
            f"{settings.map.longest_lag}"
        )
    if long_family(objective) is None:
        return
    for name, share in (
        ("rollout_share", objective.rollout_share),
        ("mean_flow_share", objective.mean_flow_share),
    ):
        if share:
            raise ValueError(
                f"objective.{name} is for objective.family = semigroup, and it is "
                f"{objective.family}: set it to 0"
            )


def long_family(objective: DynamicsObjectiveConfig) -> LongSteps | None:
    """Return the family of objectives that takes the place of the semigroup, None for none."""
    return None if objective.family == "semigroup" else OBJECTIVES[objective.family]


def asks_for_derivatives(objective: DynamicsObjectiveConfig) -> str:
    """Return the setting that needs derivatives of the network by its inputs; empty if none."""
    if objective.mean_flow_share:
        return "objective.mean_flow_share"
    family = long_family(objective)
    return "objective.family" if family is not None and family.derivatives else ""
