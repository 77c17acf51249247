"""`molflow propagate`: trajectories of many chains in large steps, resumable and watched."""

from __future__ import annotations

import shutil
import time as clock
from pathlib import Path

import mdtraj

from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import writable_folder
from molflow.parts import alone, claim_parts, finished
from molflow.propagation.chains import Chains, Wanted
from molflow.propagation.record import read_result, write_result
from molflow.propagation.request import parse_request, start_positions
from molflow.propagation.run import ChainBroke, Run
from molflow.sampling.pool import open_workplace
from molflow.training.checkpoint import Checkpoint
from molflow.trajectories import check_extension, check_topology, write_trajectory

#: Chains that walk together.
ON_CPU, ON_GPU = 16, 256


@alone
def propagate(
    checkpoint: str | Path | Checkpoint,
    start: str | Path | mdtraj.Trajectory,
    time,
    lag,
    out: str | Path,
    *,
    chains: int = 64,
    save="1ps",
    temperature=None,
    friction=None,
    path_seed: int = 0,
    device: str | None = None,
    batch_size: int | None = None,
    compiled: bool = False,
    keep_going: bool = False,
    residual_noise: bool = False,
    energies: bool = True,
    progress: bool = True,
    load: bool = True,
    jobs: Jobs = None,
) -> mdtraj.Trajectory | Path:
    """Propagate chains by a trained map of Langevin dynamics, or go on where it stopped.

    The Brownian path of a chain depends on `path_seed` and on absolute time: a run that was
    interrupted ends as one that was not, and runs with other lags follow the same paths.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        Of a map of dynamics: built-in system name, path of a checkpoint or run folder, or loaded.
    start : str, Path or mdtraj.Trajectory
        Structure or trajectory with all atoms; chains start from frames evenly spaced over it, or
        from each in turn. Velocities are drawn from the Maxwell-Boltzmann law.
    time : str, float or quantity
        Length of every chain: ``"1ns"``; a float is in ps.
    lag : str, float or quantity
        Length of a step, up to the longest of training: ``"20fs"``. Where the time between frames
        is no multiple of it, steps are as much shorter as to fit.
    out : path
        ``.dcd``, ``.h5``, ``.xtc`` or ``.pdb``: one chain after the other. Beside it are written
        ``topology.pdb``, a record (``.json``) and arrays (``.npz``: ``velocities`` nm/ps,
        ``times`` ps, ``chain``, ``energies`` kJ/mol).
    chains : int
        Independent trajectories.
    save : str, float or quantity
        Time between frames. The start is not saved.
    temperature, friction : str, float or quantity, optional
        ``"350K"`` and ``"10/ps"``; by default those of training.
    path_seed : int
        Of velocities at the start and Brownian paths.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; the paths are the same on each. By
        default a loaded checkpoint stays where it is, and others go to a GPU if there is one.
    batch_size : int, optional
        Chains that walk together, in one network call; by default `ON_GPU` on a GPU and `ON_CPU`
        on a processor. A process has so many at a time.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first: some minutes, and faster
        steps after it. Needs a C++ compiler; rounding may differ.
    keep_going : bool
        Whether to go on with the others when a chain breaks. The record says which broke, when
        and how; the files hold those that did not.
    residual_noise : bool
        Whether to add the noise that the map misses, of the covariance that was learned with it
        (`molflow.maps.langevin.residual_noise`) or that its chains asked for
        (`molflow.maps.langevin.residual_balance`): motions keep their temperature. It follows from
        `path_seed` and absolute time too, and is not that of the Brownian path.
    energies : bool
        Whether to compute potential energies for the file.
    progress : bool
        Whether to show a bar with kinetic temperature and drift.
    load : bool
        Whether to return the trajectory. Without, memory does not grow with its length.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default the caller's own, with as many
        threads as torch has. With one thread a process the files do not depend on it.

    Returns
    -------
    mdtraj.Trajectory, or Path
        What was written; times are those within a chain, ps. `out` where it is not wanted.

    Raises
    ------
    MolflowError
        If an argument is impossible, all chains break, or one does and the others are not to go
        on; then with its frames in a file of the name of `out` with ``.broken.dcd``.
    """
    place = open_workplace(checkpoint, device, jobs)
    checkpoint = place.checkpoint
    checkpoint.check_use("propagate")
    topology = checkpoint.topology()
    request = parse_request(
        checkpoint.flow_map, time, lag, save, chains, temperature, friction, path_seed
    )
    if batch_size is None:
        batch_size = ON_CPU if place.device == "cpu" else ON_GPU
    if not isinstance(batch_size, int) or batch_size < 1:
        raise MolflowError(f"batch_size is {batch_size!r}: give a whole number, 1 or more.")
    out = check_extension(out)
    writable_folder(out.parent)
    check_topology(out, topology)
    first = start_positions(start, topology, chains)
    if residual_noise and checkpoint.residual is None:
        raise MolflowError(
            f"the checkpoint '{checkpoint.folder}' has no residual noise, which is learned from "
            "paths under the true force: train on a set that has them (molflow prepare --forces "
            "--paths), add what its own chains ask for (molflow.maps.langevin.residual_balance), "
            "or propagate without."
        )
    residual_hash = checkpoint.description["residual_sha256"] if residual_noise else None
    plan = request.plan(checkpoint.weights_hash, first, keep_going, energies, residual_hash)
    if not finished(out, plan):
        parts = claim_parts(out, plan | {"together": batch_size})
        run = Run(request, parts, batch_size, keep_going)
        wanted = Wanted(request, first, keep_going, compiled, residual_noise)
        started = clock.perf_counter()
        try:
            with place.farm(Chains, wanted, len(run.groups), alone=True) as farm:
                run.to_the_end(farm, progress)
        except ChainBroke as broke:
            raise MolflowError(_sentence(broke, run, topology, out)) from None
        seconds = clock.perf_counter() - started
        write_result(out, checkpoint, topology, run, plan, seconds, energies, jobs)
        shutil.rmtree(parts)
    return read_result(out, topology) if load else out


def _sentence(broke: ChainBroke, run: Run, topology: mdtraj.Topology, out: Path) -> str:
    """Return what broke, and keep the frames that led there."""
    first, request = broke.found[0], run.request
    others = f" ({len(broke.found)} chains broke at that time)" if len(broke.found) > 1 else ""
    if broke.before:
        others = f", the last of {request.chains} to break"
    frames = run.frames_until(first)
    saved = "No frame had been saved"
    if len(frames):
        path = out.with_name(f"{out.stem}.broken.dcd")
        write_trajectory(path, frames, topology)
        saved = f"Its {len(frames)} frames until then are in '{path}'"
    return (
        f"chain {first.chain} broke after {first.time:g} ps{others}: {first.what}. {saved}. Start "
        f"from a relaxed structure, or choose a lag below {request.step * 1e3:g} fs."
    )
