"""Checkpoints for use: weights, what they were trained on, and the molecule they speak of."""

from __future__ import annotations

import copy
import platform
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

import molflow
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import read_json, replacing, sha256_of, writable_folder, write_json, write_text
from molflow.flow_map.base import FlowMap
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.residual_noise import ResidualNoise
from molflow.nn.graph import MolecularGraph
from molflow.sde.base import time_tensor
from molflow.systems import load_system, systems_folder
from molflow.training.configuration import TrainingConfig
from molflow.training.map_configuration import LangevinConfig, map_configuration
from molflow.training.maps import build_flow_map
from molflow.training.network_configuration import network_configuration

FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION, TOPOLOGY = "model.safetensors", "model.json", "topology.pdb"
RESIDUAL = "residual.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A trained flow map with its description.

    Attributes
    ----------
    flow_map : DenoiserFlowMap or DynamicsFlowMap
        On the CPU, in evaluation mode.
    description : dict
        Contents of ``model.json``: system, ensemble and its hash, data hash and split, length
        scale (nm), graph, configuration, versions, training record; of a map of dynamics also its
        `LangevinScales` as ``dynamics``.
    folder : Path
        Where it was read from.
    residual : ResidualNoise, optional
        Of a map of dynamics that was trained along paths under the true force.
    """

    flow_map: FlowMap
    description: dict[str, Any]
    folder: Path
    residual: ResidualNoise | None = None

    @property
    def scale(self) -> float:
        """Standard deviation of the training data in nm, the unit of length of the map."""
        return self.description["scale_nm"]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.description["graph"]["elements"])

    @property
    def device(self) -> torch.device:
        """Where the map is."""
        return next(self.flow_map.parameters()).device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file."""
        return self.description["weights_sha256"]

    @property
    def dynamics(self) -> bool:
        """Whether it is a map of dynamics, and not one that samples from noise."""
        return "dynamics" in self.description

    def check_use(self, dynamics: bool) -> None:
        """Raise `MolflowError` unless the map is of dynamics, or is not, as `dynamics` says."""
        if self.dynamics and not dynamics:
            raise MolflowError(
                f"the checkpoint '{self.folder}' is a map of Langevin dynamics, which starts from "
                "a structure and not from noise: use molflow propagate."
            )
        if dynamics and not self.dynamics:
            raise MolflowError(
                f"the checkpoint '{self.folder}' samples independent conformations from noise and "
                "knows no dynamics: use molflow sample, or train with map.kind=langevin."
            )

    def topology(self):
        """Return the `mdtraj.Topology` of the molecule.

        Raises
        ------
        MolflowError
            If its file is missing.
        """
        import mdtraj

        if not (self.folder / TOPOLOGY).is_file():
            raise MolflowError(f"the checkpoint '{self.folder}' is damaged: it lacks {TOPOLOGY}.")
        return mdtraj.load_topology(str(self.folder / TOPOLOGY))


def save_checkpoint(
    folder: str | Path,
    flow_map: FlowMap,
    graph: MolecularGraph,
    config: TrainingConfig,
    description: dict[str, Any],
    topology_pdb: str,
) -> None:
    """Write a checkpoint folder; the description is written last and names the weights' hash."""
    folder = writable_folder(folder)
    weights = {
        name: value.detach().cpu().contiguous() for name, value in flow_map.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(weights))
    write_text(folder / TOPOLOGY, topology_pdb)
    versions = {
        "molflow": molflow.__version__,
        "torch": torch.__version__,
        # Its normalisation of products is part of what the weights mean.
        "e3nn": version("e3nn"),
        "python": platform.python_version(),
    }
    scales = getattr(flow_map, "scales", None)
    write_json(
        folder / DESCRIPTION,
        {
            "format_version": FORMAT_VERSION,
            **description,
            **({} if scales is None else {"dynamics": scales.to_dict()}),
            "graph": graph.to_dict(),
            "configuration": config.model_dump(),
            "parameters": sum(value.numel() for value in flow_map.parameters()),
            "weights_sha256": sha256_of(folder / WEIGHTS),
            "versions": versions,
        },
    )


def save_residual(folder: str | Path, residual: ResidualNoise) -> None:
    """Add residual noise to a checkpoint; its description then names the hash."""
    folder = Path(folder)
    values = {field.name: getattr(residual, field.name) for field in fields(residual)}
    tensors = {name: time_tensor(value).contiguous() for name, value in values.items()}
    with replacing(folder / RESIDUAL) as temporary:
        temporary.write_bytes(save(tensors))
    described = read_json(folder / DESCRIPTION)
    write_json(folder / DESCRIPTION, {**described, "residual_sha256": sha256_of(folder / RESIDUAL)})


def _load_residual(folder: Path, recorded: str | None) -> ResidualNoise | None:
    if recorded is None:
        return None
    path = folder / RESIDUAL
    if not path.is_file() or sha256_of(path) != recorded:
        raise MolflowError(
            f"the checkpoint '{folder}' is damaged: {RESIDUAL} is missing or not the file that "
            f"{DESCRIPTION} describes; copy or train it again."
        )
    tensors = load_file(path)
    numbers = {name: float(tensors.pop(name)) for name in ("block", "temperature")}
    return ResidualNoise(**tensors, **numbers)


def find_checkpoint(name: str | Path) -> Path:
    """Return the checkpoint folder of a built-in system's name or of a path.

    Raises
    ------
    MolflowError
        If there is none.
    """
    path = Path(name)
    for folder in (path, path / "checkpoint"):
        if (folder / DESCRIPTION).is_file():
            return folder
    system, _, variant = str(name).partition(":")
    folder = systems_folder() / system / (f"checkpoint-{variant}" if variant else "checkpoint")
    if (folder / DESCRIPTION).is_file():
        return folder
    if path.exists():
        raise MolflowError(
            f"'{name}' is not a checkpoint: that is a folder with {DESCRIPTION} and {WEIGHTS}."
        )
    load_system(name)  # a sentence of its own if the system does not exist either
    raise MolflowError(
        f"the system '{name}' comes without a checkpoint: train one, or give a path."
    )


def open_checkpoint(
    checkpoint: str | Path | Checkpoint, device: str | torch.device | None = None
) -> Checkpoint:
    """Return a checkpoint by built-in name or path, or a loaded one, with its map on a device.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The map of a loaded one stays where it is: another device gets a copy.
    device : str or torch.device, optional
        See `molflow.devices.find_device`. By default a loaded one stays where it is, and others go
        to a GPU if there is one.

    Raises
    ------
    MolflowError
        As `load_checkpoint` and `find_device` do.
    """
    if not isinstance(checkpoint, Checkpoint):
        return load_checkpoint(checkpoint, find_device("auto" if device is None else device))
    wanted = checkpoint.device if device is None else find_device(device)
    if wanted in (checkpoint.device, torch.device(checkpoint.device.type)):
        return checkpoint
    return replace(checkpoint, flow_map=copy.deepcopy(checkpoint.flow_map).to(wanted))


def load_checkpoint(name: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Load a checkpoint by built-in name or path.

    Raises
    ------
    MolflowError
        If it is missing, damaged, or of a later format.
    """
    folder = find_checkpoint(name)
    description = read_json(folder / DESCRIPTION)
    try:
        if description["format_version"] > FORMAT_VERSION:
            raise MolflowError(
                f"the checkpoint '{folder}' has format {description['format_version']}, and this "
                f"molflow reads up to {FORMAT_VERSION}: install a later molflow."
            )
        # Only what shapes the map: the settings of training may change between versions.
        network = network_configuration(description["configuration"]["network"])
        map_ = map_configuration(description["configuration"]["map"])
        graph = MolecularGraph.from_dict(description["graph"])
        scales = None
        if isinstance(map_, LangevinConfig):
            scales = LangevinScales.from_dict(description["dynamics"])
        recorded = description["weights_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MolflowError):
            raise
        raise MolflowError(
            f"the checkpoint '{folder}' is damaged: {DESCRIPTION} lacks or garbles {error}."
        ) from error
    flow_map = build_flow_map(graph, network, map_, scales)
    try:
        if sha256_of(folder / WEIGHTS) != recorded:
            raise MolflowError(
                f"the checkpoint '{folder}' is damaged: {WEIGHTS} is not the file that "
                f"{DESCRIPTION} describes; copy or train it again."
            )
        flow_map.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise MolflowError(
            f"the weights of the checkpoint '{folder}' cannot be read: {error}"
        ) from error
    residual = _load_residual(folder, description.get("residual_sha256"))
    flow_map = flow_map.eval().requires_grad_(False).to(device)
    return Checkpoint(flow_map, description, folder, residual)
