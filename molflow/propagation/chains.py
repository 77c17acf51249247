"""Some of the chains of a propagation, from one write to the disk to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from molflow.analysis.kinetics.temperatures import masses_of
from molflow.devices import upload
from molflow.propagation.motion import Motion, inertial, positions_of, start_state
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.propagation.request import Request
from molflow.propagation.watch import Break, StepWatch, Watch
from molflow.training.checkpoint import Checkpoint

#: Frames between writes to the disk.
SEGMENT = 20


@dataclass(frozen=True)
class Wanted:
    """What is asked of all chains.

    Attributes
    ----------
    request : Request
    start : ndarray, (chains, n_atoms, 3)
        nm.
    keep_going : bool
        Whether chains that break are put back to where they started, so that numbers stay numbers,
        and the others go on.
    compiled : bool
        Whether the network is compiled first.
    residual_noise : bool
        Whether to add the noise that the map misses.
    """

    request: Request
    start: np.ndarray
    keep_going: bool = False
    compiled: bool = False
    residual_noise: bool = False


@dataclass(frozen=True)
class Segment:
    """What comes of some chains between two writes to the disk.

    Attributes
    ----------
    arrays : dict of ndarray
        ``positions`` and, where states have them, ``velocities`` (frames, chains, n_atoms, 3)
        float32, and ``kinetic`` temperatures (frames, chains) in K, which are none otherwise. There
        are fewer frames where a chain broke and the others do not go on.
    x : ndarray
        States after the last.
    broken : dict of Break
        How chains broke for the first time in it, by their numbers among all.
    """

    arrays: dict[str, np.ndarray]
    x: np.ndarray
    broken: dict[int, Break]


class Chains:
    """One process's map for chains that walk together.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of a map of dynamics.
    wanted : Wanted
    """

    def __init__(self, checkpoint: Checkpoint, wanted: Wanted):
        self.wanted, request = wanted, wanted.request
        dynamics: Any = checkpoint.flow_map
        flow_map = dynamics.at(request.temperature, request.friction)
        if wanted.compiled:
            flow_map = flow_map.calculated(compiled=True)
        self.flow_map, self.residual = flow_map, checkpoint.residual
        topology = checkpoint.topology()
        self.inertial, self.masses = inertial(flow_map), masses_of(topology)
        if self.inertial:
            sde: Any = flow_map.sde  # with inertia
            self.masses = sde.masses.double().cpu().numpy().ravel()
        self.watch = Watch(topology, wanted.start, self.masses)
        self.first = start_state(flow_map, wanted.start, request.path_seed)
        self._walks: dict[range, _Walk] = {}

    def segment(self, chains: range, done: int, x: np.ndarray | None) -> Segment:
        """Walk from one write to the disk to the next.

        Parameters
        ----------
        chains : range
            Their numbers.
        done : int
            Frames that there are already.
        x : ndarray, optional
            Their states then; by default those at the start.
        """
        if chains not in self._walks:
            self._walks.clear()  # one at a time: paths remember what was asked for last
            self._walks[chains] = _Walk(self, chains)
        count = min(SEGMENT, self.wanted.request.frames - done)
        return self._walks[chains].on(done, count, x)


class _Walk:
    """Chains that walk together, with their paths and their watch."""

    def __init__(self, parent: Chains, chains: range):
        request, residuals = parent.wanted.request, None
        if parent.wanted.residual_noise:
            state = request.temperature, request.friction
            residuals = ChainResiduals(parent.residual, *state, request.path_seed, chains)
        self.parent, self.chains, self.request = parent, chains, request
        self.motion = Motion(parent.flow_map, len(chains), residuals)
        atoms = len(parent.masses)
        self.paths = ChainPaths(parent.flow_map.basis, chains, atoms, request.path_seed)
        self.first = upload(parent.first[chains.start : chains.stop], self.motion.device)
        self.look = StepWatch(self.first, parent.masses, request.temperature, parent.inertial)

    def on(self, done: int, count: int, given: np.ndarray | None) -> Segment:
        request, watch, inertial = self.request, self.parent.watch, self.parent.inertial
        x = self.first if given is None else upload(torch.from_numpy(given), self.motion.device)
        kept: dict[str, list[np.ndarray]] = {"positions": [], "velocities": [], "kinetic": []}
        broken: dict[int, Break] = {}
        for k in range(done, done + count):
            start = k * request.interval
            x = self.motion.walk(
                x, self.paths, start, request.interval, request.steps, self.look
            )  # fmt: skip
            # The only numbers that come back from a device.
            for found in self.look.found():
                self._note(broken, found)
            if broken and not self.parent.wanted.keep_going:
                break
            here = x.cpu()
            found = watch.at_frame(start + request.interval, positions_of(here).numpy())
            if found:
                self._note(broken, found)
                if not self.parent.wanted.keep_going:
                    break
                x = self._put_back(x, found)
                here = x.cpu()
            kept["positions"].append(positions_of(here).numpy().astype(np.float32))
            if inertial:
                velocities = here[:, 1].numpy()
                kept["velocities"].append(velocities.astype(np.float32))
                kept["kinetic"].append(watch.kinetic_temperatures(velocities))
            else:
                kept["kinetic"].append(np.zeros(0))
        arrays = {name: np.array(values) for name, values in kept.items() if values}
        return Segment(arrays, x.cpu().numpy(), broken)

    def _note(self, broken: dict[int, Break], found: list[Break]) -> None:
        for one in found:
            number = self.chains.start + one.chain
            broken.setdefault(number, Break(number, one.time, one.what))

    def _put_back(self, x: torch.Tensor, found: list[Break]) -> torch.Tensor:
        """Return states with chains that broke where they started."""
        x, chains = x.clone(), [one.chain for one in found]
        x[chains] = self.first[chains]
        return x
