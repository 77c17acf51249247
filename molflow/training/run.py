"""`molflow train`: from a training set to a checkpoint, resumable."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.data.dataset import TrainingData, load_training_data
from molflow.data.distances import distance_statistics
from molflow.data.simulation import trajectory_hashes
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import writable_folder
from molflow.flow_map.base import FlowMap
from molflow.objectives.families import START
from molflow.objectives.registry import OBJECTIVES
from molflow.parts import alone_with
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from molflow.training.configuration import load_configuration
from molflow.training.fit import fit
from molflow.training.kinds import Material, build_flow_map
from molflow.training.loss_weight import LossWeight
from molflow.training.memory import recompute_where_needed
from molflow.training.molecules import check_together, describe, graph_of
from molflow.training.processes import find_processes, first_process
from molflow.training.run_folder import claim
from molflow.training.start import check_start, is_of, start_from
from molflow.training.surroundings import seeded
from molflow.trajectories import write_trajectory


@alone_with(folders=("out",), together=True)
def train(
    system: str | Path | MolecularSystem | Sequence[str | Path | MolecularSystem],
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    config: str | Path | None = None,
    overrides: Sequence[str] = (),
    start: str | Path | None = None,
    compiled: bool = False,
    captured: bool = False,
    progress: bool = True,
    device: str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
) -> Path:
    """Train a strong flow map; run the same call again to resume.

    Parameters
    ----------
    system : str, Path or MolecularSystem, or a sequence of them
        Built-in name, with ``:selection`` for a coarse one, or a path. Several, all with all their
        atoms, train one map, whose network is ``shared``; it speaks of other molecules too.
    data : path, or a sequence of paths
        Folder written by `molflow.prepare`, for each system one.
    out : path
        Run folder: ``config.yaml``, ``metrics.csv``, TensorBoard events, ``checkpoint/``.
    config : path, optional
        YAML file; by default the one that comes with the system, if any, none for several.
    overrides : sequence of str
        ``key=value`` words, such as ``steps=20000`` or ``network.layers=6``.
    start : str or Path, optional
        Checkpoint whose weights the run starts from, instead of random ones: a built-in name or a
        path. Its network, and the number of coefficients, must be those of the configuration. Of
        one that speaks of many molecules, where nothing else is said, they are. It may be of
        another molecule, see `molflow.training.start`.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first: some minutes, and
        faster steps after it. Needs a C++ compiler. Rounding, and so the weights in their last
        digits, differ from those of a run without.
    captured : bool
        On a GPU: whether the kernels of a step are replayed as CUDA graphs, see `molflow.fit`; for
        maps that sample from noise, of one eta.
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
    processes = find_processes(devices, nodes, place)
    systems, folders = _several(system), _several(data)
    systems = [one if isinstance(one, MolecularSystem) else load_system(one) for one in systems]
    if len(systems) != len(folders):
        raise MolflowError(
            f"{len(systems)} systems and {len(folders)} folders of data are given: give one folder "
            "for each system, in the same order."
        )
    many, first = len(systems) > 1, systems[0]
    if many:
        check_together(systems)
        if compiled:
            raise MolflowError(
                f"--compile is given with {len(systems)} systems, and is for one: leave it out."
            )
    origin = None if start is None else load_checkpoint(start, system=first)
    settings = load_configuration(
        _configuration_files(systems, config, origin), overrides, _defaults(many, origin)
    )
    trainings = [load_training_data(folder) for folder in folders]
    for one, training in zip(systems, trainings, strict=True):
        _check_match(one, training)
    graphs = [graph_of(one) for one in systems]
    family = OBJECTIVES[settings.objective.family]
    if origin is not None:
        check_start(origin, graphs[0], settings)
    elif START in family.needs:
        raise MolflowError(
            f"objective.family = {settings.objective.family} has a map that stays as its teacher: "
            "name its checkpoint as start (--start)."
        )
    frozen = origin.flow_map if origin is not None and START in family.needs else None
    known = None if origin is None else settings.kind.known(origin.description)
    materials = [
        Material(one, one.topology(), graph, training, settings, frozen, known)
        for one, graph, training in zip(systems, graphs, trainings, strict=True)
    ]
    kind = settings.kind
    recipe = kind.recipe_of_many(materials) if many else kind.recipe(materials[0])
    out = writable_folder(out)
    claim(out, settings, recipe.data_hash, None if origin is None else origin.weights_hash)
    with seeded(derive_seed(settings.seed, "weights")):
        flow_map = build_flow_map(graphs[0], settings.network, settings.map, recipe.known)
        ingredients = recipe.ingredients(flow_map)
        weight = LossWeight(ingredients.clock, settings.objective.least_variance)
    if origin is not None:
        start_from(flow_map, origin, graphs[0])
    if origin is None or not is_of(origin, graphs[0]):
        network: Any = flow_map.network
        pairs, scale = network.measured_pairs().numpy(), trainings[0].scale
        found = distance_statistics(trainings[0].train / scale, pairs)
        network.set_statistics(*(torch.from_numpy(part).float() for part in found))
    if compiled and ingredients.derivatives:
        raise MolflowError(
            f"{ingredients.derivatives} needs derivatives that a compiled network does not have: "
            "set it to 0, or train without --compile."
        )
    recompute_where_needed(
        flow_map, ingredients, settings.objective.local_steps, place,
        processes.devices if place.type == "cpu" else 1,
    )  # fmt: skip
    pdb = None if many else system_pdb(materials[0].topology, trainings[0].train[0])

    def write(trained: FlowMap, step: int, rows: list[dict]) -> None:
        description = {
            **_of_molecules(materials, origin),
            "scale_nm": recipe.scale or trainings[0].scale,
            "record": _record(trainings, step, rows, origin, place),
        }
        graph = None if many else graphs[0]
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
        captured=captured,
        device=place,
        devices=devices,
        nodes=nodes,
        progress=progress,
    )
    if first_process():
        made = load_checkpoint(out / "checkpoint", system=first)
        recipe.finish(out / "checkpoint", made.flow_map)
    return out / "checkpoint"


def _several(given: Any) -> list:
    return [given] if isinstance(given, str | Path | MolecularSystem) else list(given)


def _defaults(many: bool, origin: Checkpoint | None) -> dict[str, Any]:
    """Return network and map of a start that speaks of many, and the network that several need."""
    if origin is not None and origin.bound_to is not None:
        stored = origin.description["configuration"]
        return {name: stored[name] for name in ("network", "map")}
    return {"network": {"kind": "shared"}} if many else {}


def _configuration_files(
    systems: Sequence[MolecularSystem], config: str | Path | None, origin: Checkpoint | None
) -> list[Path]:
    if config is not None:
        return [Path(config)]
    # What a system's own file says of the network is not what a start of many molecules has.
    if len(systems) > 1 or (origin is not None and origin.bound_to is not None):
        return []
    system = systems[0]
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


def _of_molecules(materials: Sequence[Material], origin: Checkpoint | None) -> dict[str, Any]:
    """Return what a checkpoint says of its molecule, or of its many."""
    if len(materials) == 1:
        (material,) = materials
        manifest = material.data.manifest
        named = {name: manifest[name] for name in ("data_hash", "split")}
        runs = [run for part in ("train", "validation") for run in manifest["split"][part]]
        seen = trajectory_hashes(manifest.get("source", {}), runs)
        before = [] if origin is None else origin.description.get("trajectories")
        if before is not None:  # else of the start's frames no files are known
            named["trajectories"] = sorted({*seen, *before})
        return {**material.system.record, **named}
    systems, data, graphs = zip(
        *((each.system, each.data, each.graph) for each in materials), strict=True
    )
    hashes = "-".join(each.manifest["data_hash"] for each in data)
    return {
        "system": ", ".join(system.label for system in systems),
        "data_hash": hashlib.sha256(hashes.encode()).hexdigest(),
        "molecules": describe(systems, data, graphs),
    }


def _record(
    trainings: Sequence[TrainingData],
    step: int,
    rows: list[dict],
    origin: Checkpoint | None,
    place: torch.device,
) -> dict:
    started, machine = None, f"{platform.machine()}, {torch.get_num_threads()} threads"
    if place.type == "cuda":
        machine += f", {torch.cuda.get_device_name(place)}"
    if origin is not None:
        before = {k: v for k, v in origin.description["record"].items() if k != "curves"}
        started = {"weights_sha256": origin.weights_hash, "record": before}
    return {
        "steps": step,
        "frames": sum(len(training.train) for training in trainings),
        "seconds": round(sum(row["seconds"] for row in rows)),
        "machine": machine,
        "curves": rows[:: max(1, len(rows) // 100)],
        "start": started,
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
