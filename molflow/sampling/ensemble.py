"""`molflow sample`: exactly n conformations at any step count, resumable."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch

from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import replacing, writable_folder, write_arrays
from molflow.maps.denoiser.draw import BLOCK, draw_blocks, flow_blocks
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.nn.precision import check_precision
from molflow.parts import alone, claim_parts, finished, kept_array, write_record
from molflow.progress import track
from molflow.refinement.pieces import refine_positions
from molflow.refinement.refine import outcome, plan_of, walk_of, warn_of
from molflow.sampling.energies import energies_of, energy_system
from molflow.sampling.pace import Pace
from molflow.sampling.pool import Workplace, open_workplace
from molflow.seeds import derive_seed
from molflow.training.checkpoint import Checkpoint
from molflow.trajectories import (
    check_extension,
    check_topology,
    frames_at_once,
    read_trajectory,
    write_topology,
    write_trajectory,
)


@alone
def sample(
    checkpoint: str | Path | Checkpoint,
    steps: int = 4,
    n: int = 1000,
    out: str | Path | None = None,
    path_seed: int = 0,
    device: str | None = None,
    batch_size: int = 256,
    energies: bool = True,
    progress: bool = True,
    refine: int | None = None,
    load: bool = True,
    flow: bool = False,
    eta: float | None = None,
    seconds: float | None = None,
    jobs: Jobs = None,
    precision: str = "float32",
    compiled: bool = False,
):
    """Draw conformations from a trained flow map.

    Sample i depends on the checkpoint, on `path_seed` and on i, not on the batch size; the same
    `path_seed` gives the same Brownian paths at every step count.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        Built-in system name, path of a checkpoint or run folder, or a loaded one.
    steps : int
        Jumps, each of one network call.
    n : int
        Conformations: exactly as many are returned, broken ones included.
    out : path, optional
        ``.dcd``, ``.h5``, ``.xtc`` or ``.pdb``. Beside it are written ``topology.pdb``, the
        provenance (``.json``) and, for a system with all its atoms, the potential energies
        (``.npz``, kJ/mol) computed before any rounding. Finished batches are kept in a folder
        beside it until the end: the same call resumes.
    path_seed : int
        Seed of the start and of the Brownian paths.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; the paths are the same on each. By
        default a loaded checkpoint stays where it is, and others go to a GPU if there is one.
    batch_size : int
        Conformations per network call, rounded up to a multiple of 64.
    energies : bool
        Whether to compute potential energies for the file.
    progress : bool
        Whether to show a progress bar.
    refine : int, optional
        Steps of damped dynamics from every conformation, see `molflow.refine`.
    load : bool
        Whether to return the conformations. Without, with `out` and without `refine`, memory does
        not grow with `n`.
    flow : bool
        Whether to follow the probability flow that the map contains (`ProbabilityFlow`) and not
        Brownian paths: a smooth function of the start.
    eta : float, optional
        Stochasticity, of maps that were trained with it as an input (``map.etas``); by default
        ``map.eta``. 1 is the ancestral map, 0 the deterministic one.
    seconds : float, optional
        Of wall-clock time for drawing and energies, after which no further batch is begun: there
        are fewer than `n` conformations then, one batch at least. Where even its energies would
        take longer there are none, and the record says so.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default the caller's own, with as many
        threads as torch has. With one thread a process the files do not depend on it.
    precision : str
        Of the network's matrix products. ``"bfloat16"`` is faster where the processor or GPU has
        it; bonds become a little wider and energies higher, basins stay what they are.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first: a minute or two, and
        faster calls after it. Needs a C++ compiler; rounding may differ.

    Returns
    -------
    mdtraj.Trajectory, or Path
        Frame k has time k; order of atoms and residues of the topology, lengths in nm. `out` where
        the conformations are not wanted.

    Raises
    ------
    MolflowError
        If an argument is impossible, the device is absent or the folder cannot be written.
    """
    import mdtraj

    for name, value in (("steps", steps), ("n", n), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise MolflowError(f"{name} is {value!r}: it must be a whole number, at least 1.")
    check_precision(precision)
    place = open_workplace(checkpoint, device, jobs)
    checkpoint = place.checkpoint
    checkpoint.check_use("sample")
    if eta is not None:
        eta = _other_eta(checkpoint, eta, flow)
    walk = None if refine is None else _walk(checkpoint, refine, path_seed)
    topology = checkpoint.topology()
    batch = -(-batch_size // BLOCK)
    plan = {
        "weights_sha256": checkpoint.weights_hash,
        "steps": steps,
        "n": n,
        "path_seed": path_seed,
        "blocks_per_batch": batch,
        "energies": energies,
    }
    if flow:
        plan["flow"] = True
    if eta is not None:
        plan["eta"] = eta
    if precision != "float32":
        plan["precision"] = precision
    if compiled:
        plan["compiled"] = True
    if seconds is not None:
        plan["timed"] = True
    if walk is not None:
        plan["refine"] = plan_of(walk)
    if not load and out is None:
        raise MolflowError("load is False and out is not given: the conformations would be lost.")
    parts = None
    if out is not None:
        out = check_extension(out)
        if out.parent.resolve() == checkpoint.folder.resolve():
            raise MolflowError(
                f"out is '{out}', in the folder of the checkpoint, whose files it could replace: "
                "choose another folder."
            )
        writable_folder(out.parent)
        check_topology(out, topology)
        if out.suffix.lower() == ".xtc":
            warnings.warn(
                "XTC rounds positions to 0.001 nm, which raises all-atom energies by tenths of kT; "
                "energies are computed before rounding. DCD keeps single precision.",
                stacklevel=2,
            )
        if finished(out, plan):
            return read_trajectory(out, topology) if load else out
        parts = claim_parts(out, plan)
    started = time.perf_counter()
    pace = None if seconds is None else Pace(seconds, checkpoint, energies)
    pieces = _draw_all(place, plan, parts, progress, pace)
    took, n = time.perf_counter() - started, min(n, BLOCK * batch * len(pieces))
    walked = None
    if walk is not None:
        positions = np.concatenate(list(_joined(pieces, n, n)))
        walked = refine_positions(walk, positions, parts, jobs, progress)
        warn_of(walked)
        pieces = [walked.positions]
    if out is not None:
        slow = "" if pace is None else pace.no_energies
        _write(out, place, topology, pieces, n, plan, took, walked, slow, parts, progress)
    found = None
    if load:
        positions = np.concatenate(list(_joined(pieces, n, n)))
        found = mdtraj.Trajectory(positions, topology, time=np.arange(n, dtype=float))
    if parts is not None:
        shutil.rmtree(parts)
    return out if found is None else found


def _other_eta(checkpoint: Checkpoint, eta: float, flow: bool) -> float | None:
    """Return eta if samples are to have another than the checkpoint's own."""
    if flow:
        raise MolflowError(
            f"eta is {eta} and flow is True: the flow is the map at eta = 0 already. Give one."
        )
    if "eta" not in checkpoint.description["configuration"]["map"]:
        raise MolflowError(f"eta is {eta}, and the checkpoint is of a kind of map that has none.")
    flow_map = cast(DenoiserFlowMap, checkpoint.flow_map)  # or one with the same `at`
    return None if flow_map.at(eta) is flow_map else float(eta)


def _walk(checkpoint: Checkpoint, steps: int, path_seed: int):
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MolflowError(f"refine is {steps!r}: it must be a whole number of steps, at least 1.")
    system = energy_system(checkpoint.description)
    if isinstance(system, str):
        raise MolflowError(f"there is nothing to refine with. {system}")
    return walk_of(system, steps, seed=derive_seed(path_seed, "refine"))


class Batches:
    """Batches of conformations, in one process.

    Parameters
    ----------
    checkpoint : Checkpoint
    plan : dict
        Of `sample`.
    """

    def __init__(self, checkpoint: Checkpoint, plan: dict):
        self.checkpoint, self.plan = checkpoint, plan
        self.flow_map = cast(DenoiserFlowMap, checkpoint.flow_map)  # of a kind that samples
        if "eta" in plan:
            self.flow_map = self.flow_map.at(plan["eta"])
        if ways := {name: plan[name] for name in ("precision", "compiled") if name in plan}:
            self.flow_map = self.flow_map.calculated(**ways)
        self.drawing = flow_blocks if plan.get("flow") else draw_blocks

    def draw(self, first: int, count: int) -> np.ndarray:
        """Return so many blocks of conformations, (count * `BLOCK`, n_atoms, 3) float32, nm."""
        given, plan = self.checkpoint, self.plan
        # Machine code is made for one size of batch: the last one is filled up and cut.
        asked = plan["blocks_per_batch"] if plan.get("compiled") else count
        with torch.no_grad():
            drawn = self.drawing(
                self.flow_map, range(first, first + asked), plan["steps"], plan["path_seed"],
                given.n_atoms,
            )[: count * BLOCK]  # fmt: skip
        return (given.scale * drawn).cpu().numpy().astype(np.float32)


def _draw_all(
    place: Workplace, plan: dict, parts: Path | None, progress: bool, pace: Pace | None
) -> list:
    """Draw the batches there is time for, and return them, or the files in `parts` with them."""
    batch, blocks = plan["blocks_per_batch"], -(-plan["n"] // BLOCK)
    sizes = {first: min(batch, blocks - first) for first in range(0, blocks, batch)}
    names = {
        first: None if parts is None else parts / f"blocks-{first:07d}.npy" for first in sizes
    }
    pieces: dict[int, np.ndarray | Path] = {}
    stopped = False

    def take(first: int, drawn: np.ndarray) -> None:
        nonlocal stopped
        name = names[first]
        pieces[first] = drawn if name is None else name
        stopped = stopped or (pace is not None and pace.over(drawn))

    def todo() -> Iterator[tuple[int, tuple[int, int]]]:
        for first, count in sizes.items():
            if stopped:
                return
            kept = kept_array(names[first], BLOCK * count)
            if kept is None:
                yield first, (first, count)
            else:
                take(first, kept)

    missing = sum(kept_array(names[first], BLOCK * k) is None for first, k in sizes.items())
    title = f"sampling at {plan['steps']} network calls"
    with place.farm(Batches, plan, missing, alone=True) as farm:
        for first, drawn in track(farm.each("draw", todo()), title, progress, missing):
            if (name := names[first]) is not None:
                with replacing(name) as temporary:
                    np.save(temporary, drawn)
            take(first, drawn)
    return [pieces[first] for first in sorted(pieces)]


def _joined(pieces: list[np.ndarray | Path], n: int, at_once: int) -> Iterator[np.ndarray]:
    """Yield the first n frames of pieces, or of their files, about so many at once."""
    kept, held, left = [], 0, n
    for piece in pieces:
        frames = np.load(piece, allow_pickle=False) if isinstance(piece, Path) else piece
        kept.append(frames[:left])
        held, left = held + len(kept[-1]), left - len(kept[-1])
        if held >= at_once or not left:
            yield np.concatenate(kept)
            kept, held = [], 0
        if not left:
            return


def _write(
    out: Path, place: Workplace, topology, pieces: list, n: int, plan: dict, seconds: float, walked,
    slow: str, parts: Path | None, progress: bool,
) -> None:  # fmt: skip
    checkpoint = place.checkpoint
    write_topology(out, checkpoint.topology_path)
    at_once, stored = frames_at_once(topology.n_atoms), None
    write_trajectory(out, _joined(pieces, n, at_once), topology)
    if plan["energies"] and not slow:
        stored = None if walked is None else walked.energies
        if walked is None:
            frames = _joined(pieces, n, at_once)
            stored = energies_of(checkpoint, frames, n, parts, place.jobs, progress)
    if stored is None:
        # Energies of an earlier ensemble of this name would be taken for energies of this one.
        out.with_suffix(".npz").unlink(missing_ok=True)
    else:
        write_arrays(out.with_suffix(".npz"), energies=stored)
    description = checkpoint.description
    absent = plan["energies"] and stored is None and not slow
    write_record(
        out,
        {
            "system": description["system"],
            "system_path": description.get("system_path"),
            "ensemble_hash": description["ensemble_hash"],
            **({"molecule": description["molecule"]} if "molecule" in description else {}),
            **({"no_energies": energy_system(description)} if absent else {}),
            **({"energies_left_out": slow} if slow else {}),
            "training_replicas": description["split"]["train"],
            "n": n,
            "nfe": plan["steps"],
            "plan": plan,
            **({} if walked is None else {"refined": outcome(walked)}),
            "checkpoint": checkpoint.provenance,
            "device": place.device,
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 2),
        },
    )
