"""`molflow train`: from a training set to a checkpoint, resumable."""

from __future__ import annotations

import logging
import platform
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from molflow.data.dataset import HOT, ForceData, TrainingData, load_forces, load_training_data
from molflow.data.paths import PathData
from molflow.devices import find_device
from molflow.errors import MolflowError
from molflow.files import writable_folder
from molflow.maps.denoiser.batches import StepBatches, TimeLaw, local_counts, scaled_positions
from molflow.maps.denoiser.draw import draw
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.objective import StrongMapTraining
from molflow.maps.denoiser.stiff_norm import StiffNorm
from molflow.maps.denoiser.validation import EnsembleScore
from molflow.maps.dynamics.recipe import dynamics_parts, langevin_scales, usable_paths
from molflow.maps.langevin.path_steps import PathSteps
from molflow.maps.langevin.residual_fit import fit_residual_noise
from molflow.nn.graph import MolecularGraph
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.training.callbacks import Export, History, Validation
from molflow.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_residual,
)
from molflow.training.checkpoint_io import SafetensorsCheckpointIO
from molflow.training.configuration import TrainingConfig, load_configuration
from molflow.training.map_configuration import AnyMapConfig, is_dynamics
from molflow.training.maps import build_flow_map
from molflow.training.network_configuration import network_configuration
from molflow.training.run_folder import claim
from molflow.trajectories import write_trajectory


class _Batches(lightning.LightningDataModule):
    """Hands the trainer the batches of the current epoch.

    Parameters
    ----------
    config : TrainingConfig
    make : callable
        ``(epoch, first step, count) -> Dataset`` of whole batches.
    """

    def __init__(self, config: TrainingConfig, make: Callable[[int, int, int], Dataset]):
        super().__init__()
        self.config, self.make = config, make

    def train_dataloader(self) -> DataLoader:
        """Return the loader of one epoch; an item is a batch."""
        epoch, count = self.trainer.current_epoch, self.config.steps_per_epoch
        first = epoch * count
        batches = self.make(epoch, first, min(count, self.config.steps - first))
        return DataLoader(batches, batch_size=None, shuffle=False)


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
    system = system if isinstance(system, MolecularSystem) else load_system(system)
    settings = load_configuration(_configuration_files(system, config), overrides)
    training = load_training_data(data)
    _check_match(system, training)
    origin = None if start is None else load_checkpoint(start)
    topology = system.topology()
    graph = MolecularGraph.from_topology(topology)
    if origin is not None:
        _check_start(origin, graph, settings)
    out = writable_folder(out)
    start_hash = None if origin is None else origin.weights_hash
    forces = load_forces(training) if is_dynamics(settings.map) else None
    paths = usable_paths(training, settings)
    # Paths that teach nothing decide the residual noise, but not the weights.
    taught = paths if getattr(settings.objective, "direct_share", 0.0) else None
    claim(out, settings, _data_hash(training, forces, taught), start_hash)
    scales = None
    if forces is not None:
        scales = langevin_scales(forces, training.scale, system, settings.map)
    torch.manual_seed(derive_seed(settings.seed, "weights"))
    flow_map = build_flow_map(graph, settings.network, settings.map, scales)
    if origin is None:
        network = flow_map.network
        pairs = network.measured_pairs().numpy()
        network.set_statistics(*distance_statistics(training.train / training.scale, pairs))
    else:
        flow_map.load_state_dict(origin.flow_map.state_dict())
    if forces is None:
        parts = _sampling_parts(flow_map, training, topology, graph, settings)
    else:
        parts = dynamics_parts(flow_map, forces, graph, settings, paths)
    module, make, validation = parts
    if compiled and getattr(settings.objective, "mean_flow_share", 0.0):
        raise MolflowError(
            "objective.mean_flow_share needs derivatives that a compiled network does not have: "
            "set it to 0, or train without --compile."
        )
    if compiled:
        for trained in (module.flow_map, module.teacher):
            trained.compile_parts()
    history = History(out / "metrics.csv")
    pdb = system_pdb(topology, training.train[0])

    def export(trained, step: int, rows: list[dict]) -> None:
        description = _description(system, training, step, rows, origin)
        save_checkpoint(out / "checkpoint", trained, graph, settings, description, pdb)

    callbacks = [history, Export(export, history)]
    if len(training.validation):
        callbacks.insert(0, validation)
    _fit(module, _Batches(settings, make), settings, out, callbacks, progress, place)
    if paths is not None and graph.n_atoms > 2:
        trained = load_checkpoint(out / "checkpoint").flow_map
        steps = PathSteps(paths, settings.map.longest_lag)
        save_residual(out / "checkpoint", fit_residual_noise(trained, steps, graph))
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
    for name, before, now in (
        ("network", network_configuration(stored["network"]), settings.network),
        ("map.kind", stored["map"].get("kind", "denoiser"), settings.map.kind),
        (_FEATURES, origin.flow_map.basis.size, _features(settings.map)),
        ("map.longest_lag", stored["map"].get("longest_lag"), _longest_lag(settings)),
    ):
        if before != now:
            raise MolflowError(
                f"start is '{origin.folder}', with {name} = {before}, and the configuration says "
                f"{now}: make them equal, or train from random weights."
            )


_FEATURES = "features of an increment (map.order, and one more unless map.eta is 0)"


def _features(map_: AnyMapConfig) -> int:
    # Langevin dynamics without inertia, and the probability flow, have no rate.
    return map_.order + int(map_.kind == "langevin" or getattr(map_, "eta", 0.0) > 0)


def _longest_lag(settings: TrainingConfig) -> float | None:
    return settings.map.longest_lag if is_dynamics(settings.map) else None


def _data_hash(training: TrainingData, forces: ForceData | None, paths: PathData | None) -> str:
    """Return what names all that decides the weights."""
    positions = training.manifest["data_hash"]
    if forces is None:
        return positions
    hashes = training.manifest["dynamics"]["forces_sha256"]
    names = [positions, hashes["train"], hashes.get(HOT, "")]
    return "-".join(names if paths is None else [*names, paths.name])


def _sampling_parts(
    flow_map: DenoiserFlowMap,
    training: TrainingData,
    topology,
    graph: MolecularGraph,
    settings: TrainingConfig,
) -> tuple[StrongMapTraining, Callable, Validation]:
    """Return module, source of batches and validation of a map that samples."""
    module = StrongMapTraining(flow_map, settings, _norm(flow_map.sde, graph, settings))
    law = TimeLaw(flow_map.clock, settings.objective)
    positions = scaled_positions(training.train, training.scale)

    def make(epoch: int, first: int, count: int) -> StepBatches:
        local = local_counts(settings.objective, settings.batch_size, first, count)
        return StepBatches(
            positions, law, flow_map.basis.size, settings.batch_size, local, settings.seed, epoch
        )

    return module, make, _validation(topology, training, settings)


def _norm(sde: ReverseDiffusion, graph: MolecularGraph, settings: TrainingConfig) -> StiffNorm:
    """Return the norm that knows bonds and angles: pairs one or two bonds apart are stiff."""
    distances = torch.tensor(graph.distances())
    pairs = torch.nonzero(torch.triu((distances == 1) | (distances == 2)))
    return StiffNorm(sde, pairs, settings.objective.stiffness, settings.objective.stiff_below)


def _validation(topology, training: TrainingData, settings: TrainingConfig) -> Validation:
    def positions(flow_map, n: int, nfe: int, seed: int) -> np.ndarray:
        return training.scale * draw(flow_map, n, nfe, seed, topology.n_atoms).numpy()

    return Validation(
        positions,
        EnsembleScore(topology, training.validation),
        settings.validate_every,
        settings.validation_samples,
        settings.validation_nfe,
        derive_seed(settings.seed, "validation"),
    )


def _fit(
    module,
    batches,
    settings: TrainingConfig,
    out: Path,
    callbacks: list,
    progress: bool,
    device: torch.device,
) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*_log_api_event.*|.*isinstance.*LeafSpec.*")
    # Without the counter a run in a folder that was moved would write "last-v1" and resume "last".
    state = ModelCheckpoint(
        out / "state",
        filename="last",
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    state.FILE_EXTENSION = ".safetensors"
    callbacks = [*callbacks, state]
    if progress:
        callbacks.append(RichProgressBar())
    epochs = -(-settings.steps // settings.steps_per_epoch)
    trainer = lightning.Trainer(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        # Not max_steps: with it Lightning resumes inside the epoch that the state has finished.
        max_epochs=epochs,
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=settings.gradient_clip,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=callbacks,
        plugins=[SafetensorsCheckpointIO()],
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=50,
        deterministic=True,
    )
    previous = out / "state" / "last.safetensors"
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches, ckpt_path=str(previous) if previous.exists() else None)
    except SystemExit as error:
        # Lightning answers an interruption by ignoring all further ones and exiting with 1.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error


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
    if training.train_log_weights is not None:
        raise MolflowError(
            f"the frames of the training set '{training.folder}' have weights, and training takes "
            "frames of equal weight: simulate without flatten."
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
