"""`molflow propagate`: trajectories of many chains in large steps, resumable and watched."""

from __future__ import annotations

import json
import shutil
import time as clock
from dataclasses import asdict
from pathlib import Path

import mdtraj
import numpy as np
import torch

from molflow.analysis.temperatures import masses_of
from molflow.errors import MolflowError
from molflow.files import read_arrays, writable_folder, write_arrays
from molflow.flow_map.base import FlowMap
from molflow.parts import claim_parts, finished
from molflow.propagation.motion import Motion, inertial, positions_of, start_state
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.propagation.progress import Gauge
from molflow.propagation.record import read_result, write_result
from molflow.propagation.request import Request, parse_request, start_positions
from molflow.propagation.watch import Break, Watch
from molflow.sampling.ensemble import find_device
from molflow.training.checkpoint import Checkpoint, load_checkpoint
from molflow.trajectories import check_extension, write_trajectory

#: Frames between writes to the disk.
SEGMENT = 20


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
    device: str = "cpu",
    batch_size: int = 256,
    compiled: bool = False,
    keep_going: bool = False,
    residual_noise: bool = False,
    energies: bool = True,
    progress: bool = True,
) -> mdtraj.Trajectory:
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
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    batch_size : int
        Chains a network call.
    compiled : bool
        Whether `torch.compile` makes machine code of the network first: some minutes, and faster
        steps after it. Needs a C++ compiler; rounding may differ.
    keep_going : bool
        Whether to go on with the others when a chain breaks. The record says which broke, when
        and how; the files hold those that did not.
    residual_noise : bool
        Whether to add the noise that the map misses, of the covariance that was learned with it
        (`molflow.maps.langevin.residual_noise`): vibrations keep their temperature. It follows from
        `path_seed` and absolute time too, and is not that of the Brownian path.
    energies : bool
        Whether to compute potential energies for the file.
    progress : bool
        Whether to show a bar with kinetic temperature and drift.

    Returns
    -------
    mdtraj.Trajectory
        What was written; times are those within a chain, ps.

    Raises
    ------
    MolflowError
        If an argument is impossible, all chains break, or one does and the others are not to go
        on; then with its frames in a file of the name of `out` with ``.broken.dcd``.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint, find_device(device))
    checkpoint.check_use(dynamics=True)
    topology = checkpoint.topology()
    request = parse_request(
        checkpoint.flow_map, time, lag, save, chains, temperature, friction, path_seed
    )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise MolflowError(f"batch_size is {batch_size!r}: give a whole number, 1 or more.")
    out = check_extension(out)
    writable_folder(out.parent)
    first = start_positions(start, topology, chains)
    if residual_noise and checkpoint.residual is None:
        raise MolflowError(
            f"the checkpoint '{checkpoint.folder}' has no residual noise, which is learned from "
            "paths under the true force: train on a set that has them (molflow prepare --forces "
            "--paths), or propagate without."
        )
    residual_hash = checkpoint.description["residual_sha256"] if residual_noise else None
    plan = request.plan(checkpoint.weights_hash, first, keep_going, energies, residual_hash)
    if not finished(out, plan):
        parts = claim_parts(out, plan)
        flow_map = checkpoint.flow_map.at(request.temperature, request.friction)
        if compiled:
            flow_map.compile_parts()
        residuals = None
        if residual_noise:
            state = request.temperature, request.friction
            residuals = ChainResiduals(checkpoint.residual, *state, path_seed)
        run = Run(flow_map, topology, first, request, parts, batch_size, keep_going, residuals)
        started = clock.perf_counter()
        try:
            run.to_the_end(progress)
        except ChainBroke as broke:
            raise MolflowError(_sentence(broke.found, run, out)) from None
        seconds = clock.perf_counter() - started
        write_result(out, checkpoint, topology, run, plan, seconds, energies)
        shutil.rmtree(parts)
    return read_result(out, topology)


class ChainBroke(Exception):
    """Chains are broken; `found` says which and how."""

    def __init__(self, found: list[Break]):
        super().__init__(found[0].what)
        self.found = found


class Run:
    """A propagation in a folder of parts: segments of frames, and the state after the last.

    Parameters
    ----------
    flow_map : FlowMap
        In the state that was asked for.
    topology : mdtraj.Topology
    start : ndarray, (chains, n_atoms, 3)
        nm.
    request : Request
    parts : Path
    batch_size : int
    keep_going : bool
        Whether to go on with the other chains when one breaks. It is put back to where it
        started, so that numbers stay numbers, and is not counted from then on.
    residuals : ChainResiduals, optional
        Noise to add to every step.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        topology: mdtraj.Topology,
        start: np.ndarray,
        request: Request,
        parts: Path,
        batch_size: int,
        keep_going: bool = False,
        residuals: ChainResiduals | None = None,
    ):
        self.request, self.parts, self.topology = request, parts, topology
        self.motion = Motion(flow_map, batch_size, residuals)
        self.inertial = inertial(flow_map)
        self.masses = masses_of(topology)
        if self.inertial:
            self.masses = flow_map.sde.masses.double().cpu().numpy().ravel()
        self.paths = ChainPaths(flow_map.basis, request.chains, len(self.masses), request.path_seed)
        self.watch = Watch(topology, start, self.masses, request.temperature)
        self.keep_going, self.broken = keep_going, {}
        self.frames, self.x = 0, start_state(flow_map, start, request.path_seed)
        self.first = self.x
        if (parts / "state.npz").exists():
            stored = read_arrays(parts / "state.npz")
            self.frames, self.x = int(stored["frames"]), torch.from_numpy(stored["x"])
            rows = json.loads(str(stored["broken"]))
            self.broken = {row["chain"]: Break(**row) for row in rows}

    @property
    def segments(self) -> list[Path]:
        """Files of the finished segments, in order."""
        return [self._segment(k) for k in range(-(-self.frames // SEGMENT))]

    def to_the_end(self, progress: bool) -> None:
        """Propagate until all frames are there.

        Raises
        ------
        ChainBroke
            If one breaks.
        """
        with Gauge(self.request, progress) as gauge:
            for path in self.segments:
                gauge.show(read_arrays(path)["kinetic"])
            while self.frames < self.request.frames:
                count = min(SEGMENT, self.request.frames - self.frames)
                index, arrays = self.frames // SEGMENT, self._advance(count, gauge)
                write_arrays(self._segment(index), **arrays)
                self.frames += count
                broken = json.dumps([asdict(found) for found in self.broken.values()])
                write_arrays(
                    self.parts / "state.npz", x=self.x.numpy(), frames=np.array(self.frames),
                    broken=np.array(broken),
                )  # fmt: skip

    def _segment(self, index: int) -> Path:
        return self.parts / f"segment-{index:06d}.npz"

    def _advance(self, count: int, gauge: Gauge) -> dict[str, np.ndarray]:
        kept = {"positions": [], "velocities": [], "kinetic": []}
        request, x = self.request, self.x
        self.unsaved = kept["positions"]
        for k in range(self.frames, self.frames + count):
            start = k * request.interval
            x = self.motion.walk(x, self.paths, start, request.interval, request.steps, self._look)
            found = self.watch.at_frame(start + request.interval, positions_of(x).numpy())
            x = self._without_broken(x, found)
            positions = positions_of(x).numpy()
            kept["positions"].append(positions.astype(np.float32))
            if self.inertial:
                velocities = x[:, 1].numpy()
                kept["velocities"].append(velocities.astype(np.float32))
                kept["kinetic"].append(self.watch.kinetic_temperatures(velocities))
            else:
                kept["kinetic"].append(np.zeros(0))
            gauge.show(np.array(kept["kinetic"][-1:]))
        self.x = x
        return {name: np.array(values) for name, values in kept.items() if values}

    def _look(self, time: float, x: torch.Tensor) -> torch.Tensor:
        velocities = x[:, 1].numpy() if self.inertial else None
        found = self.watch.after_step(time, positions_of(x).numpy(), velocities)
        return self._without_broken(x, found)

    def _without_broken(self, x: torch.Tensor, found: list[Break]) -> torch.Tensor:
        """Stop, or put chains that broke back to where they started."""
        if not found:
            return x
        new = [one for one in found if one.chain not in self.broken]
        whole = self.request.chains - len(self.broken) - len(new)
        if new and not (self.keep_going and whole):
            raise ChainBroke(new)
        self.broken |= {one.chain: one for one in new}
        x, chains = x.clone(), [one.chain for one in found]
        x[chains] = self.first[chains]
        return x

    @property
    def whole(self) -> np.ndarray:
        """Numbers of the chains that did not break."""
        return np.array([i for i in range(self.request.chains) if i not in self.broken])

    def frames_of(self, chain: int) -> np.ndarray:
        """Return all frames of one chain that there are, (frames, n_atoms, 3)."""
        stored = [read_arrays(path)["positions"][:, chain] for path in self.segments]
        none = np.empty((0, len(self.masses), 3), np.float32)
        return np.concatenate([none, *stored, *(frame[chain][None] for frame in self.unsaved)])


def _sentence(found: list[Break], run: Run, out: Path) -> str:
    """Return what broke, and keep the frames that led there."""
    first, request = found[0], run.request
    others = f" ({len(found)} chains broke at that time)" if len(found) > 1 else ""
    if run.broken:
        others = f", the last of {request.chains} to break"
    frames = run.frames_of(first.chain)
    saved = "No frame had been saved"
    if len(frames):
        path = out.with_name(f"{out.stem}.broken.dcd")
        write_trajectory(path, frames, run.topology)
        saved = f"Its {len(frames)} frames until then are in '{path}'"
    return (
        f"chain {first.chain} broke after {first.time:g} ps{others}: {first.what}. {saved}. Start "
        f"from a relaxed structure, or choose a lag below {request.step * 1e3:g} fs."
    )
