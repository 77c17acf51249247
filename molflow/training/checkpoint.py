"""Checkpoints for use: weights, what they were trained on, and the molecule they speak of."""

from __future__ import annotations

import copy
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

import molflow
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import (
    read_json,
    reader,
    replacing,
    sha256_of,
    writable_folder,
    write_json,
    write_text,
)
from molflow.flow_map.base import FlowMap
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import network_configuration
from molflow.systems import MolecularSystem, built_in_systems, load_system, systems_folder
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import MAPS, MapKind, map_configuration
from molflow.training.molecules import of_one

FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION, TOPOLOGY = "model.safetensors", "model.json", "topology.pdb"


@dataclass(frozen=True)
class Checkpoint:
    """A trained flow map with its description.

    Attributes
    ----------
    flow_map : FlowMap
        Of the kind `kind`; on the CPU, in evaluation mode.
    description : dict
        Contents of ``model.json``: system, ensemble and its hash, data hash and split, length
        scale (nm), graph, configuration, versions, training record; and what the kind of the map
        adds, such as `LangevinScales` as ``dynamics``.
    folder : Path
        Where it was read from.
    residual : object, optional
        What was learned after the weights: of a map of dynamics that was trained along paths under
        the true force its `ResidualNoise`.
    bound_to : MolecularSystem, optional
        The molecule that is meant, where the weights speak of many.
    """

    flow_map: FlowMap
    description: dict[str, Any]
    folder: Path
    residual: Any = None
    bound_to: MolecularSystem | None = None

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
        """Names the map: SHA-256 of the weights file, and the molecule if they speak of many."""
        weights = self.description["weights_sha256"]
        return weights if self.bound_to is None else f"{weights}-{self.bound_to.ensemble_hash}"

    @property
    def provenance(self) -> dict[str, Any]:
        """What names weights and training data in the record of something that the map made."""
        names = ("weights_sha256", "data_hash", "split", "trajectories")
        # Those of many molecules have no split, those of earlier versions no trajectories.
        return {name: self.description[name] for name in names if name in self.description}

    @property
    def kind(self) -> MapKind:
        """The kind of the map."""
        return MAPS[self.description["configuration"]["map"].get("kind", "denoiser")]

    def check_use(self, verb: str) -> None:
        """Raise `MolflowError` unless the verb, ``"sample"`` or ``"propagate"``, uses such maps."""
        if self.kind.use != verb:
            raise MolflowError(f"the checkpoint '{self.folder}' {self.kind.description}.")

    @property
    def topology_path(self) -> Path:
        """PDB of the molecule."""
        own = self.folder / TOPOLOGY
        return own if self.bound_to is None else self.bound_to.structure_path

    def topology(self):
        """Return the `mdtraj.Topology` of the molecule.

        Raises
        ------
        MolflowError
            If its file is missing.
        """
        import mdtraj

        if not self.topology_path.is_file():
            raise MolflowError(f"the checkpoint '{self.folder}' is damaged: it lacks {TOPOLOGY}.")
        return mdtraj.load_topology(str(self.topology_path))


def save_checkpoint(
    folder: str | Path,
    flow_map: FlowMap,
    graph: MolecularGraph | None,
    config: TrainingConfig,
    description: dict[str, Any],
    topology_pdb: str | None,
) -> None:
    """Write a checkpoint folder; the description is written last and names the weights' hash.

    Weights that speak of many molecules have neither graph nor topology, and name ``molecules``.
    """
    folder = writable_folder(folder)
    weights = {
        name: value.detach().cpu().contiguous() for name, value in flow_map.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(weights))
    if topology_pdb is not None:
        write_text(folder / TOPOLOGY, topology_pdb)
    versions = {
        "molflow": molflow.__version__,
        "torch": torch.__version__,
        # Its normalisation of products is part of what the weights mean.
        "e3nn": version("e3nn"),
        "python": platform.python_version(),
    }
    write_json(
        folder / DESCRIPTION,
        {
            "format_version": FORMAT_VERSION,
            **description,
            **config.kind.describe(flow_map),
            **({} if graph is None else {"graph": graph.to_dict()}),
            "configuration": config.model_dump(),
            "parameters": sum(value.numel() for value in flow_map.parameters()),
            "weights_sha256": sha256_of(folder / WEIGHTS),
            "versions": versions,
        },
    )


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
    if system not in built_in_systems():
        there = sorted(systems_folder().glob(f"*/checkpoint*/{DESCRIPTION}"))
        shipped = [one.parent.parent.name + _variant(one.parent.name) for one in there]
        raise MolflowError(
            f"there is no checkpoint '{name}': give the folder of a run of molflow train, one with "
            f"{DESCRIPTION} and {WEIGHTS}, or a map that comes with molflow: {', '.join(shipped)}."
        )
    load_system(name)  # a sentence of its own if there is no such selection of atoms
    raise MolflowError(
        f"the system '{name}' comes without a checkpoint: train one, or give a path."
    )


def maps_of_many() -> dict[str, list[str]]:
    """Return the maps of many molecules that come with molflow, and the molecules they learned."""
    folders = [path.parent for path in systems_folder().glob(f"*/checkpoint/{DESCRIPTION}")]
    told = {folder.parent.name: read_json(folder / DESCRIPTION) for folder in sorted(folders)}
    return {
        name: [one["system"] for one in said["molecules"]]
        for name, said in told.items()
        if "molecules" in said
    }


def _variant(folder: str) -> str:
    """Return ``:dynamics`` for ``checkpoint-dynamics``, nothing for ``checkpoint``."""
    variant = folder.removeprefix("checkpoint").removeprefix("-")
    return f":{variant}" if variant else ""


def open_checkpoint(
    checkpoint: str | Path | Checkpoint,
    device: str | torch.device | None = None,
    system: str | Path | MolecularSystem | None = None,
) -> Checkpoint:
    """Return a checkpoint by built-in name or path, or a loaded one, with its map on a device.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The map of a loaded one stays where it is: another device gets a copy.
    device : str or torch.device, optional
        See `molflow.devices.find_device`. By default a loaded one stays where it is, and others go
        to a GPU if there is one.
    system : str, Path or MolecularSystem, optional
        See `load_checkpoint`; a loaded one is of its molecule already.

    Raises
    ------
    MolflowError
        As `load_checkpoint` and `find_device` do.
    """
    if not isinstance(checkpoint, Checkpoint):
        place = find_device("auto" if device is None else device)
        return load_checkpoint(checkpoint, place, system)
    wanted = checkpoint.device if device is None else find_device(device)
    if wanted in (checkpoint.device, torch.device(checkpoint.device.type)):
        return checkpoint
    return replace(checkpoint, flow_map=copy.deepcopy(checkpoint.flow_map).to(wanted))


@reader
def load_checkpoint(
    name: str | Path,
    device: str | torch.device = "cpu",
    system: str | Path | MolecularSystem | None = None,
) -> Checkpoint:
    """Load a checkpoint by built-in name or path.

    Parameters
    ----------
    name : str or Path
    device : str or torch.device
    system : str, Path or MolecularSystem, optional
        The molecule that is meant, trained on or not, where the checkpoint speaks of many; one that
        speaks of a single molecule goes by its own.

    Raises
    ------
    MolflowError
        If it is missing, damaged, or of a later format, or speaks of many molecules and none is
        named.
    """
    folder = find_checkpoint(name)
    description, meant = read_json(folder / DESCRIPTION), None
    if isinstance(description, dict) and "molecules" in description:
        meant = _meant(description, folder, system)
        description = of_one(description, folder, meant)
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
        kind = MAPS[map_.kind]
        known = kind.known(description)
        recorded = description["weights_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MolflowError):
            raise
        raise MolflowError(
            f"the checkpoint '{folder}' is damaged: {DESCRIPTION} lacks or garbles {error}."
        ) from error
    flow_map = kind.build(graph, network, map_, known)
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
    flow_map = flow_map.eval().requires_grad_(False).to(device)
    return Checkpoint(flow_map, description, folder, kind.residual(folder, description), meant)


def _meant(
    description: dict, folder: Path, system: str | Path | MolecularSystem | None
) -> MolecularSystem:
    if system is None:
        names = ", ".join(one["system"] for one in description["molecules"])
        raise MolflowError(
            f"the checkpoint '{folder}' speaks of many molecules: name one as the system "
            f"(--system), of those it was trained on ({names}) or any other with all its atoms."
        )
    return system if isinstance(system, MolecularSystem) else load_system(system)
