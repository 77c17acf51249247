"""`molflow train`: from a training set to a checkpoint, resumable."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.data.dataset import TrainingData, load_training_data
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import writable_folder
from molflow.flow_map.base import FlowMap
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import network_configuration
from molflow.objectives.families import START
from molflow.objectives.registry import OBJECTIVES
from molflow.parts import alone_with
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from molflow.training.configuration import TrainingConfig, load_configuration
from molflow.training.fit import fit
from molflow.training.kinds import Material, build_flow_map, map_configuration
from molflow.training.loss_weight import LossWeight
from molflow.training.processes import find_processes, first_process
from molflow.training.run_folder import claim
from molflow.training.surroundings import seeded
from molflow.trajectories import write_trajectory


@alone_with(folders=("out",), together=True)
def train(
    system: str | MolecularSystem,
    data: str | Path,
    out: str | Path,
    config: str | Path | None = None,
    overrides: Sequence[str] = (),
    start: str | Path | None = None,
    compiled: bool = False,
    progress: bool = True,
    device: str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
) -> Path:
    """Train a strong flow map; run the same call again to resume.

    Parameters
    ----------
    system : str or MolecularSystem
        Built-in name, with ``:selection`` for a coarse one, or a path.
    data : path
        Folder written by `molflow.prepare`.
    out : path
        Run folder: ``config.yaml``, ``metrics.csv``, TensorBoard events, ``checkpoint/``.
    config : path, optional
        YAML file; by default the one that comes with the system, if any.
    overrides : sequence of str
        ``key=value`` words, such as ``steps=20000`` or ``network.layers=6``.
    start : str or Path, optional
        Checkpoint whose weights the run starts from, instead of random ones: a built-in name or a
        path. Its network, and the number of coefficients, must be those of the configuration.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first: some minutes, and
        faster steps after it. Needs a C++ compiler. Rounding, and so the weights in their last
        digits, differ from those of a run without.
    progress : bool
        Whether to show a progress bar.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default a GPU if there is one.
    devices, nodes : int, optional
        Processes on each machine that train together, and machines; see `molflow.fit`.

    Returns
    -------
    Path
        The checkpoint folder.

    Raises
    ------
    MolflowError
        If the data are of another system, the configuration is wrong, `out` holds another run,
        or the weights of `start` do not fit.
    """
    place = find_device("auto" if device is None else device)
    find_processes(devices, nodes, place)
    system = system if isinstance(system, MolecularSystem) else load_system(system)
    settings = load_configuration(_configuration_files(system, config), overrides)
    training = load_training_data(data)
    _check_match(system, training)
    origin = None if start is None else load_checkpoint(start)
    topology = system.topology()
    graph = MolecularGraph.from_topology(topology)
    family = OBJECTIVES[settings.objective.family]
    if origin is not None:
        _check_start(origin, graph, settings)
    elif START in family.needs:
        raise MolflowError(
            f"objective.family = {settings.objective.family} has a map that stays as its teacher: "
            "name its checkpoint as start (--start)."
        )
    frozen = origin.flow_map if origin is not None and START in family.needs else None
    recipe = settings.kind.recipe(
        Material(system, topology, graph, training, settings, frozen)
    )
    out = writable_folder(out)
    claim(out, settings, recipe.data_hash, None if origin is None else origin.weights_hash)
    with seeded(derive_seed(settings.seed, "weights")):
        flow_map = build_flow_map(graph, settings.network, settings.map, recipe.known)
        ingredients = recipe.ingredients(flow_map)
        weight = LossWeight(ingredients.clock, settings.objective.least_variance)
    if origin is None:
        network: Any = flow_map.network
        pairs = network.measured_pairs().numpy()
        network.set_statistics(*distance_statistics(training.train / training.scale, pairs))
    else:
        _start_from(flow_map, origin)
    if compiled and ingredients.derivatives:
        raise MolflowError(
            f"{ingredients.derivatives} needs derivatives that a compiled network does not have: "
            "set it to 0, or train without --compile."
        )
    pdb = system_pdb(topology, training.train[0])

    def write(trained: FlowMap, step: int, rows: list[dict]) -> None:
        description = _description(system, training, step, rows, origin)
        save_checkpoint(out / "checkpoint", trained, graph, settings, description, pdb)

    fit(
        flow_map,
        ingredients.objective,
        ingredients.batches,
        settings,
        weight=weight,
        out=out,
        validation=ingredients.validation,
        write=write,
        advice=" or, if steps of the map have begun, more objective.local_steps than "
        f"{settings.objective.local_steps}",
        on_host=ingredients.on_host,
        compiled=compiled,
        device=place,
        devices=devices,
        nodes=nodes,
        progress=progress,
    )
    if first_process():
        recipe.finish(out / "checkpoint", load_checkpoint(out / "checkpoint").flow_map)
    return out / "checkpoint"


def distance_statistics(
    positions: np.ndarray, pairs: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the distances of pairs of atoms, each (pairs,).

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        At unit scale.
    pairs : ndarray, (pairs, 2), int
    """
    total, square = 0.0, 0.0
    at_once = max(1, 500_000 // max(1, len(pairs)))
    for first in range(0, len(positions), at_once):
        frame = positions[first : first + at_once]
        difference = frame[:, pairs[:, 0]] - frame[:, pairs[:, 1]]
        distance = np.linalg.norm(difference, axis=-1).astype(np.float64)
        total, square = total + distance.sum(0), square + (distance**2).sum(0)
    mean = total / len(positions)
    variance = np.maximum(square / len(positions) - mean**2, 0.0)
    # On the diagonal, and for rigid pairs, a width that noise of the last step drowns.
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(variance + 1e-6)).float()


def _check_start(origin: Checkpoint, graph: MolecularGraph, settings: TrainingConfig) -> None:
    stored = origin.description["configuration"]
    if MolecularGraph.from_dict(origin.description["graph"]) != graph:
        raise MolflowError(
            f"start is '{origin.folder}', a checkpoint of '{origin.description['system']}': its "
            "molecule is not the one to be trained. Take a checkpoint of the same atoms and bonds."
        )
    before, now = map_configuration(stored["map"]), settings.map
    pairs = [
        ("network", network_configuration(stored["network"]), settings.network),
        ("map.kind", before.kind, now.kind),
    ]
    if before.kind == now.kind:
        kind = settings.kind
        fixed = kind.fixed(before), kind.fixed(now)
        pairs.append((_FEATURES, kind.basis_size(before), kind.basis_size(now)))
        pairs += [(name, fixed[0].get(name), value) for name, value in fixed[1].items()]
    for name, had, has in pairs:
        if had != has:
            raise MolflowError(
                f"start is '{origin.folder}', with {name} = {had}, and the configuration says "
                f"{has}: make them equal, or train from random weights."
            )


def _start_from(flow_map: FlowMap, origin: Checkpoint) -> None:
    """Take the weights of a checkpoint; what is zero at the beginning may be missing there."""
    own, given = flow_map.state_dict(), origin.flow_map.state_dict()
    differ = sorted(set(given) - set(own)) + [k for k in own if k not in given and own[k].any()]
    if differ:
        raise MolflowError(
            f"start is '{origin.folder}', whose map and the one to be trained do not have the same "
            f"weights ({', '.join(differ)}): make the configurations equal, as map.etas."
        )
    flow_map.load_state_dict(given, strict=False)


_FEATURES = "features of an increment (map.order, and one more unless map.eta is 0)"


def _configuration_files(system: MolecularSystem, config: str | Path | None) -> list[Path]:
    if config is not None:
        return [Path(config)]
    name = f"training-{system.variant}.yaml" if system.variant else "training.yaml"
    return [path for path in (system.folder / name,) if path.is_file()]


def _check_match(system: MolecularSystem, training: TrainingData) -> None:
    stored = training.manifest
    if stored["system"] != system.label:
        raise MolflowError(
            f"the data are of the system '{stored['system']}', and '{system.label}' is to be "
            "trained: prepare data of this system."
        )
    if stored["ensemble_hash"] != system.ensemble_hash:
        raise MolflowError(
            f"the data belong to another ensemble ({stored['ensemble_hash']}) than "
            f"'{system.label}' ({system.ensemble_hash}): force field, temperature or structure "
            "differ; simulate again."
        )


def _description(
    system: MolecularSystem,
    training: TrainingData,
    step: int,
    rows: list[dict],
    origin: Checkpoint | None,
) -> dict:
    manifest = training.manifest
    started = None
    if origin is not None:
        before = {k: v for k, v in origin.description["record"].items() if k != "curves"}
        started = {"weights_sha256": origin.weights_hash, "record": before}
    return {
        **system.record,
        "data_hash": manifest["data_hash"],
        "split": manifest["split"],
        "scale_nm": manifest["scale"],
        "record": {
            "steps": step,
            "frames": len(training.train),
            "seconds": round(sum(row["seconds"] for row in rows)),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "curves": rows[:: max(1, len(rows) // 100)],
            "start": started,
        },
    }


def system_pdb(topology, positions: np.ndarray) -> str:
    """Return a PDB of one frame with its bonds, as the topology that goes with a checkpoint.

    Parameters
    ----------
    topology : mdtraj.Topology
    positions : ndarray, (atoms, 3)
        nm.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "topology.pdb"
        write_trajectory(path, positions[None], topology)
        return path.read_text()
