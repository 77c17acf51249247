"""What is asked of `propagate`, with every number checked, and where chains start."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

from molflow.analysis.files.ensemble import read_ensemble
from molflow.errors import MolflowError
from molflow.propagation.paths import steps_between_frames
from molflow.units import parse_quantity


@dataclass(frozen=True)
class Request:
    """Times in ps, temperature in K, friction in 1/ps.

    `steps` of equal length, `step`, lead from frame to frame; the step is the lag that was asked
    for or, where the interval is no multiple of it, the next shorter one that fits.
    """

    chains: int
    frames: int
    interval: float
    steps: int
    temperature: float
    friction: float
    path_seed: int

    @property
    def step(self) -> float:
        """Length of a step, ps."""
        return self.interval / self.steps

    def plan(
        self,
        weights_hash: str,
        start: np.ndarray,
        keep_going: bool,
        energies: bool,
        residual_hash: str | None,
    ) -> dict:
        """Return what decides the result, JSON-safe."""
        digest = hashlib.sha256(np.ascontiguousarray(start).tobytes()).hexdigest()
        plan = {"weights_sha256": weights_hash, "start_sha256": digest, **asdict(self)}
        options = {"keep_going": keep_going, "energies": energies}
        return {**plan, **options, "residual_sha256": residual_hash}


def parse_request(
    flow_map: Any, time, lag, save, chains: int, temperature, friction, path_seed: int
) -> Request:
    """Return the request of the arguments of `propagate`.

    Raises
    ------
    MolflowError
        If one is not what it should be, or the lag is longer than the map was trained for.
    """
    for name, value, least in (("chains", chains, 1), ("path_seed", path_seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MolflowError(f"{name} is {value!r}: give a whole number, {least} or more.")
    length = _positive(time, "time", "time")
    step = _positive(lag, "time", "lag")
    interval = _positive(save, "time", "save")
    temperature = (
        flow_map.temperature if temperature is None
        else _positive(temperature, "temperature", "temperature")
    )  # fmt: skip
    friction = flow_map.friction if friction is None else _positive(friction, "rate", "friction")
    longest = flow_map.at(temperature, friction).longest_lag
    if step > longest * (1 + 1e-6):
        raise MolflowError(
            f"lag is {step * 1e3:g} fs, and the map was trained for steps of up to "
            f"{longest * 1e3:g} fs: choose a lag up to that."
        )
    frames = round(length / interval)
    if frames < 1 or abs(frames * interval - length) > 1e-6 * length:
        raise MolflowError(
            f"time is {length:g} ps and save {interval:g} ps: the time has to be a positive "
            "multiple of the time between frames."
        )
    steps = steps_between_frames(interval, step)
    return Request(chains, frames, interval, steps, temperature, friction, path_seed)


def _positive(value, dimension: str, name: str) -> float:
    found = parse_quantity(value, dimension, name)
    if not 0 < found < math.inf:
        raise MolflowError(f"{name} is {value}: it has to be positive and finite.")
    return found


def start_positions(
    start: str | Path | mdtraj.Trajectory, topology: mdtraj.Topology, chains: int
) -> np.ndarray:
    """Return where chains start, (chains, n_atoms, 3) nm.

    Frames evenly spaced over the start, or each of them in turn where there are fewer.

    Raises
    ------
    MolflowError
        If the start cannot be read, lacks atoms or is not finite.
    """
    try:
        given, atoms = read_ensemble(start, None).in_order_of(topology)
    except MolflowError as error:
        raise MolflowError(f"start '{start}' cannot be used: {error}") from error
    if len(atoms) < topology.n_atoms:
        raise MolflowError(
            f"start has {len(atoms)} of the {topology.n_atoms} atoms of the map: give all of them."
        )
    chosen = np.arange(chains) % given.n
    if given.n > chains:
        chosen = np.linspace(0, given.n - 1, chains).round().astype(int)
    frames, place = np.unique(chosen, return_inverse=True)
    found = given.positions_at(frames)[place].astype(np.float64)
    if not np.isfinite(found).all():
        raise MolflowError(f"start '{start}' has positions that are not finite: leave them out.")
    return found
