"""Paths under the true force for a training set: OpenMM driven by Brownian paths that are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from molflow.brownian.increment import Increment
from molflow.brownian.path import BrownianPath
from molflow.data.dataset import ForceData, data_hash, load_forces, load_training_data
from molflow.data.paths import PATHS, PLAN, part_file, record_type
from molflow.errors import MolflowError
from molflow.farm import Farm, Jobs
from molflow.files import read_json, replacing, sha256_of, writable_folder, write_json
from molflow.md.driven import DrivenDynamics
from molflow.md.forces import system_of
from molflow.progress import track
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: ps, and how many of them a path has: eight blocks are 40 fs.
BLOCK, BLOCKS = 0.005, 8
#: Steps of the scheme of order 2 in a block: of 0.16 fs.
STEPS = 32
#: Paths of one friction, in one file.
PART = 256
#: Share of the training paths that begin at hot frames; validation paths for one training path.
_HOT, _VALIDATION = 0.2, 1 / 16


@dataclass(frozen=True)
class Part:
    """What one file of paths is made of; frames are rows of the training set or the hot frames."""

    set: str
    friction: float
    count: int
    seed: int


def add_paths(
    folder: str | Path,
    count: int,
    frictions: tuple[float, float] | None = None,
    system: str | Path | MolecularSystem | None = None,
    order: int = 14,
    seed: int = 0,
    jobs: Jobs = None,
    progress: bool = True,
) -> dict:
    """Add paths of Langevin dynamics under the true force to a training set with forces.

    Each begins at a frame with velocities from the Maxwell-Boltzmann law and runs for 40 fs along
    its own Brownian path, in steps of 0.16 fs of the scheme of order 2. Kept are the states at the
    ends of blocks of 5 fs, and what the Brownian path did in each block. A fifth begin at hot
    frames, if there are any; besides there is one from validation frames for sixteen. Paths that
    were finished before an interruption are kept.

    Parameters
    ----------
    folder : str or Path
        That `prepare` and `add_forces` wrote.
    count : int
        Paths from training and hot frames.
    frictions : tuple of float, optional
        Range of the friction, 1/ps, which is log-uniform and the same for up to 256 paths; by
        default from a tenth to ten times that of the system.
    system : str, Path or MolecularSystem, optional
        By default the built-in one that the training set names.
    order : int
        Legendre coefficients of the increments: those of the map that is to learn from them.
    seed : int
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict
        The content of ``manifest.json``, with ``paths``.

    Raises
    ------
    MolflowError
        If an argument is impossible, the training set has no forces, other paths or is of another
        system, or a path blows up.
    """
    folder = Path(folder)
    data = load_training_data(folder)
    frames = load_forces(data)
    system = system_of(data, system)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise MolflowError(f"paths is {count!r}: give how many paths to make, 1 or more.")
    low, high = frictions or (0.1 * system.friction, 10.0 * system.friction)
    if not 0.0 < low <= high < np.inf:
        raise MolflowError(
            f"frictions are {low:g} and {high:g} per ps: give two positive numbers, the smaller "
            "one first."
        )
    parts = _parts(count, frames, low, high, seed)
    plan = {
        "data_hash": data.manifest["data_hash"], "hot_hash": data_hash(frames.hot[0]),
        "validation_hash": data.manifest["validation_hash"],
        "ensemble_hash": system.ensemble_hash, "order": order, "block_ps": BLOCK, "blocks": BLOCKS,
        "steps_per_block": STEPS, "parts": {name: asdict(part) for name, part in parts.items()},
    }  # fmt: skip
    target = writable_folder(folder / PATHS)
    if (target / PLAN).exists() and read_json(target / PLAN) != plan:
        raise MolflowError(
            f"'{target}' holds other paths: remove it, or ask for the same ones again."
        )
    write_json(target / PLAN, plan)
    missing = [name for name in parts if not part_file(folder, name).exists()]
    tasks = {name: (name, parts[name]) for name in missing}
    with Farm(partial(Work, system, folder, order, frames), jobs, len(missing)) as farm:
        for _ in track(farm.each("make", tasks), "walking paths", progress, len(missing)):
            pass
    hashes = {name: sha256_of(part_file(folder, name)) for name in parts}
    name = data_hash(np.array(sorted(hashes.values())))
    manifest = data.manifest | {"paths": {"count": count, "name": name, "sha256": hashes}}
    write_json(folder / "manifest.json", manifest)
    return manifest


def walk_paths(
    system: MolecularSystem,
    starts: np.ndarray,
    friction: float,
    order: int,
    seed: int,
    steps: int = STEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Return paths under the true force, and what drove them.

    Parameters
    ----------
    system : MolecularSystem
        All atoms.
    starts : ndarray, (paths, atoms, 3)
        nm.
    friction : float
        1/ps.
    order : int
        Legendre coefficients.
    seed : int
        Of velocities and Brownian paths.
    steps : int
        Of a block, a power of two: finer steps follow the same path.

    Returns
    -------
    states : ndarray, (paths, `BLOCKS` + 1, 2, atoms, 3) float64
    noise : ndarray, (paths, `BLOCKS`, atoms, 3, order + 1) float64
        Whitened features of the increment of each block.
    """
    dynamics = DrivenDynamics(system, "bub", BLOCK / steps, friction=friction)
    masses = torch.tensor(dynamics.masses)
    sde = UnderdampedLangevin(torch.zeros_like, masses, friction, system.temperature)
    path = BrownianPath(
        sde.basis(order), 0.0, BLOCK * BLOCKS, starts.shape, derive_seed(seed, "path"),
        depth=(BLOCKS * steps - 1).bit_length(), dtype=torch.float64,
    )  # fmt: skip
    velocities = thermal_velocities(masses.numpy(), system.temperature, starts.shape, seed)
    states, noise = [np.stack([starts, velocities], axis=1)], []
    for block in range(BLOCKS):
        times = [BLOCK * (block + k / steps) for k in range(steps + 1)]
        fine = [path.increment(*ends) for ends in zip(times[:-1], times[1:], strict=True)]
        rows = _features(sde, BLOCK / steps, torch.stack([one.whitened() for one in fine], dim=1))
        ends = [
            np.stack(dynamics.walk(x[0], x[1], {name: rows[name][k] for name in rows}))
            for k, x in enumerate(states[-1])
        ]
        states.append(np.array(ends))
        increment = path.increment(block * BLOCK, (block + 1) * BLOCK)
        noise.append(increment.whitened().numpy())
    return np.stack(states, axis=1), np.stack(noise, axis=1)


def thermal_velocities(
    masses: np.ndarray, temperature: float, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """Return velocities (paths, atoms, 3) in nm/ps from the Maxwell-Boltzmann law."""
    normal = np.random.default_rng(derive_seed(seed, "velocities")).standard_normal(shape)
    return np.sqrt(thermal_energy(temperature) / masses)[:, None] * normal


def _features(sde: UnderdampedLangevin, h: float, whitened: torch.Tensor) -> dict:
    """Return what the scheme must know of steps of length h, each (paths, steps, atoms, 3)."""
    basis = sde.basis(whitened.shape[-1] - 1)
    length = torch.tensor(h, dtype=torch.float64)
    increment = Increment.from_whitened(basis, length, whitened.flatten(0, 1))
    both = sde.martingale(torch.zeros_like(length), length, increment) / sde.sigma
    both = both.unflatten(0, whitened.shape[:2])
    return {"E2": both[:, :, 0].numpy(), "E1": both[:, :, 1].numpy()}


def _parts(
    count: int, frames: ForceData, low: float, high: float, seed: int
) -> dict[str, Part]:
    parts = {}
    for name, total in (("validation", round(count * _VALIDATION)), ("train", count)):
        if not len(getattr(frames, name)[0]):
            continue
        total = max(1, total)
        sizes = [len(rows) for rows in np.array_split(np.empty(total), -(-total // PART))]
        generator = np.random.default_rng(derive_seed(seed, "frictions", name))
        shares = (generator.permutation(len(sizes)) + generator.random(len(sizes))) / len(sizes)
        for k, (size, share) in enumerate(zip(sizes, shares.tolist(), strict=True)):
            friction = float(low * (high / low) ** share)
            parts[f"{name}-{k:04d}.npy"] = Part(
                name, friction, size, derive_seed(seed, "paths", name, k)
            )
    return parts


@dataclass(frozen=True)
class Work:
    """What all parts have in common."""

    system: MolecularSystem
    folder: Path
    order: int
    frames: ForceData

    def make(self, name: str, part: Part) -> None:
        """Write one file of paths."""
        positions, hot = _starts(part, self.frames)
        states, noise = walk_paths(self.system, positions, part.friction, self.order, part.seed)
        rows = np.empty(len(states), record_type(states.shape[3], BLOCKS, self.order))
        rows["states"], rows["noise"], rows["hot"] = states, noise, hot
        with replacing(part_file(self.folder, name)) as temporary:
            np.save(temporary, rows, allow_pickle=False)


def _starts(part: Part, frames: ForceData) -> tuple[np.ndarray, np.ndarray]:
    """Return positions to start from, (paths, atoms, 3), and which of them are hot."""
    generator = np.random.default_rng(derive_seed(part.seed, "frames"))
    warm = getattr(frames, part.set)[0]
    hot = np.zeros(part.count, bool)
    if part.set == "train" and len(frames.hot[0]):
        hot[: round(_HOT * part.count)] = True
    chosen = [
        source[generator.choice(len(source), number, replace=number > len(source))]
        for source, number in ((frames.hot[0], int(hot.sum())), (warm, int((~hot).sum())))
    ]
    return np.concatenate(chosen).astype(np.float64), hot
