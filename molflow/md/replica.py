"""Independent replicas: plain MD, tempering or a static bias, in segments."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openmm import unit
from openmm.app import ReplicaExchangeSampler

from molflow.errors import MolflowError
from molflow.md.bias import TorsionBias
from molflow.md.build import make_simulation, start_anew
from molflow.md.exchange import packed, restore, unpacked
from molflow.md.flattening import FlatteningPlan
from molflow.md.minimise import minimise
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: The fewest frames of a replica that ends early, and the shares of its time for the descent at the
#: start and for equilibration.
FEWEST, _DESCENDING, _EQUILIBRATION = 30, 0.3, 0.2
#: Iterations of the descent of such a replica under a potential.
DESCENT = 60

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ReplicaPlan:
    """What one replica does. Times in ps, temperatures in K, the first is the recorded one."""

    temperatures: tuple[float, ...]
    frames: int
    frame_interval: float
    exchanges_per_frame: int
    equilibration_frames: int
    segment_frames: int
    seed: int
    platform: str
    flattening: FlatteningPlan | None = None

    @property
    def segments(self) -> int:
        """Number of segments; the last may be short."""
        return -(-self.frames // self.segment_frames)


def segment_path(folder: Path, index: int) -> Path:
    """Return the file of one segment in a replica's folder."""
    return folder / f"segment-{index:05d}.npz"


def checkpoint_path(folder: Path) -> Path:
    """Return the file in a replica's folder that is rewritten after each segment."""
    return folder / "checkpoint.npz"


def ended_path(folder: Path) -> Path:
    """Return the file in a replica's folder that says that it has ended early."""
    return folder / "ended"


class Replica:
    """One simulation built, on which replicas of a plan are carried on, a segment at a time.

    Plain MD is parallel tempering with one temperature. The frames are those of the first
    temperature, taken before the exchange that follows them. What a segment leaves behind holds
    the states of all walkers, the context's own checkpoint (for the random numbers of the
    thermostat) and the state of the generator that decides exchanges: any process that has built
    the same makes the same frames of it.

    Under a static bias V the energies are those of the system without it, and every frame has the
    logarithm of its weight, V / kT.

    Parameters
    ----------
    system : MolecularSystem
    plan : ReplicaPlan
        Of all replicas; they differ by their seeds.
    bias : TorsionBias, optional
    """

    def __init__(self, system: MolecularSystem, plan: ReplicaPlan, bias: TorsionBias | None = None):
        self.system, self.plan, self.bias = system, plan, bias
        self.simulation = make_simulation(
            system, plan.temperatures[0], 1, plan.platform, () if bias is None else bias.forces()
        )

    def advance(
        self, seed: int, stored: Arrays | None, deadline: float = float("inf")
    ) -> tuple[Arrays | None, Arrays]:
        """Make the next segment of a replica, or its start.

        Parameters
        ----------
        seed : int
            Of the replica.
        stored : dict of arrays, optional
            What the segment before left behind; without it the replica is relaxed and equilibrated.
        deadline : float
            Of `time.time`: a segment ends where it is then, with 30 frames of the replica at
            least; of what is left at the start the descent gets three tenths and equilibration a
            fifth.

        Returns
        -------
        recorded : dict of arrays, or None
            The frames; None after the start.
        stored : dict of arrays
            What the next segment begins with.
        """
        outside = random.getstate()
        try:
            if stored is None:
                return None, self._start(seed, deadline)
            segment = self._restore(stored)
            done = segment * self.plan.segment_frames
            count = min(self.plan.segment_frames, self.plan.frames - done)
            recorded = self._record(count, deadline, max(1, FEWEST - done))
            return recorded, self._stored(segment + 1)
        finally:
            random.setstate(outside)

    def _start(self, seed: int, deadline: float) -> Arrays:
        begun, simulation = time.time(), self.simulation
        lowest = self.plan.temperatures[0]
        start_anew(self.system, simulation, lowest, derive_seed(seed, "thermostat", bits=31))
        # ReplicaExchangeSampler draws its exchanges from Python's global generator.
        random.seed(derive_seed(seed, "exchange"))
        left = deadline - begun
        timed = left < float("inf")
        costly = timed and self.system.potential is not None
        minimise(
            self.system, simulation.context, iterations=DESCENT if costly else 0,
            seconds=_DESCENDING * left if timed else None,
        )  # fmt: skip
        simulation.context.setVelocitiesToTemperature(
            lowest * unit.kelvin, derive_seed(seed, "velocities", bits=30)
        )
        self.sampler = self._sampler()
        self._record(self.plan.equilibration_frames, time.time() + _EQUILIBRATION * left)
        return self._stored(0)

    def _sampler(self) -> ReplicaExchangeSampler:
        """Return a sampler whose walkers are all where the simulation is."""
        plan = self.plan
        interval = plan.frame_interval / plan.exchanges_per_frame
        steps = round(interval * 1e3 / self.system.timestep)
        states = [{"temperature": value * unit.kelvin} for value in plan.temperatures]
        return ReplicaExchangeSampler(states, self.simulation, steps)

    def _record(self, frames: int, deadline: float, fewest: int = 0) -> Arrays:
        sampler = self.sampler
        positions: list[np.ndarray] = []
        energies: list[float] = []
        walkers: list[int] = []
        biases: list[float] = []
        accepted = 0
        for done in range(frames):
            if done >= fewest and time.time() > deadline:
                frames = done
                break
            for exchange in range(self.plan.exchanges_per_frame):
                before = list(sampler.replicaStateIndex)
                # The frame is taken by the reporter, which sees the walkers before they swap.
                sampler.reporters = (
                    []
                    if exchange
                    else [lambda _: self._frame(positions, energies, walkers, biases)]
                )
                sampler.simulate(1)
                accepted += sum(
                    a != b for a, b in zip(before, sampler.replicaStateIndex, strict=True)
                )
        if not np.all(np.isfinite(energies)):
            raise MolflowError(
                "the simulation blew up (its energy is not finite): check the structure and the "
                "time step."
            )
        weights = {}
        if self.bias is not None:
            kt = thermal_energy(self.system.temperature)
            weights["log_weights"] = np.asarray(biases, dtype=np.float64) / kt
        return weights | {
            "positions": np.asarray(positions, dtype=np.float32),
            "energies": np.asarray(energies),
            "walkers": np.asarray(walkers, dtype=np.int16),
            "moved": np.asarray(
                accepted
                / max(1, frames * self.plan.exchanges_per_frame * len(self.plan.temperatures))
            ),
        }

    def _frame(self, positions: list, energies: list, walkers: list, biases: list) -> None:
        sampler = self.sampler
        walker = sampler.replicaStateIndex.index(0)
        xyz = sampler.replicaConformation[walker].getPositions(asNumpy=True)
        positions.append(xyz.value_in_unit(unit.nanometer))
        energy = sampler.replicaStateEnergy[walker][0].value_in_unit(unit.kilojoule_per_mole)
        if self.bias is not None:
            # There is one walker then, and the context is where the walker is.
            biases.append(self.bias.energy(self.simulation.context))
            energy -= biases[-1]
        energies.append(energy)
        walkers.append(walker)

    def _stored(self, segment: int) -> Arrays:
        bias = None if self.bias is None else self.bias.digest
        return packed(self.sampler, segment=segment, bias=bias)

    def _restore(self, stored: Arrays) -> int:
        self.sampler = self._sampler()
        restore(self.sampler, stored)
        return segments_done(stored)


def segments_done(stored: Arrays) -> int:
    """Return how many segments a replica has, of what the last left behind."""
    return unpacked(stored)["segment"]


def check_replica(folder: Path, stored: Arrays, bias: TorsionBias | None) -> None:
    """Raise `MolflowError` if what a replica has left behind is of one under another bias."""
    if unpacked(stored).get("bias") != (None if bias is None else bias.digest):
        raise MolflowError(f"'{folder}' was begun under another bias: choose another folder.")
