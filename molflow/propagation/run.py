"""A propagation in a folder of parts, which can be interrupted at any time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch

from molflow.analysis.temperatures import masses_of
from molflow.files import read_arrays, write_arrays
from molflow.flow_map.base import FlowMap
from molflow.propagation.motion import Motion, inertial, positions_of, start_state
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.propagation.progress import Gauge
from molflow.propagation.request import Request
from molflow.propagation.watch import Break, StepWatch, Watch

#: Frames between writes to the disk.
SEGMENT = 20


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
        device = self.motion.device
        self.inertial = inertial(flow_map)
        self.masses = masses_of(topology)
        if self.inertial:
            sde: Any = flow_map.sde  # with inertia
            self.masses = sde.masses.double().cpu().numpy().ravel()
        self.paths = ChainPaths(flow_map.basis, request.chains, len(self.masses), request.path_seed)
        self.watch = Watch(topology, start, self.masses)
        self.keep_going, self.broken = keep_going, {}
        self.first = start_state(flow_map, start, request.path_seed).to(device)
        self.frames, self.x = 0, self.first
        self.look = StepWatch(self.first, self.masses, request.temperature, self.inertial)
        if (parts / "state.npz").exists():
            stored = read_arrays(parts / "state.npz")
            self.frames, self.x = int(stored["frames"]), torch.from_numpy(stored["x"]).to(device)
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
                    self.parts / "state.npz", x=self.x.cpu().numpy(), frames=np.array(self.frames),
                    broken=np.array(broken),
                )  # fmt: skip

    def _segment(self, index: int) -> Path:
        return self.parts / f"segment-{index:06d}.npz"

    def _advance(self, count: int, gauge: Gauge) -> dict[str, np.ndarray]:
        kept: dict[str, list[np.ndarray]] = {"positions": [], "velocities": [], "kinetic": []}
        request, x = self.request, self.x
        self.unsaved = kept["positions"]
        for k in range(self.frames, self.frames + count):
            start = k * request.interval
            span = start, request.interval, request.steps
            x = self.motion.walk(x, self.paths, *span, self.look)
            # The only numbers that come back from a device.
            for found in self.look.found():
                self._note(found)
            here = x.cpu()
            found = self.watch.at_frame(start + request.interval, positions_of(here).numpy())
            if found:
                self._note(found)
                x = self._put_back(x, found)
                here = x.cpu()
            kept["positions"].append(positions_of(here).numpy().astype(np.float32))
            if self.inertial:
                velocities = here[:, 1].numpy()
                kept["velocities"].append(velocities.astype(np.float32))
                kept["kinetic"].append(self.watch.kinetic_temperatures(velocities))
            else:
                kept["kinetic"].append(np.zeros(0))
            gauge.show(np.array(kept["kinetic"][-1:]))
        self.x = x
        return {name: np.array(values) for name, values in kept.items() if values}

    def _note(self, found: list[Break]) -> None:
        """Stop, or write down which chains broke at one time."""
        new = [one for one in found if one.chain not in self.broken]
        whole = self.request.chains - len(self.broken) - len(new)
        if new and not (self.keep_going and whole):
            raise ChainBroke(new)
        self.broken |= {one.chain: one for one in new}

    def _put_back(self, x: torch.Tensor, found: list[Break]) -> torch.Tensor:
        """Return states with chains that broke where they started."""
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
