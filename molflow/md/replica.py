"""One independent replica: plain MD, tempering or a static bias, in resumable segments."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openmm import unit
from openmm.app import ReplicaExchangeSampler

from molflow.errors import MolflowError
from molflow.files import read_arrays, write_arrays, write_text
from molflow.md.bias import TorsionBias
from molflow.md.build import make_simulation
from molflow.md.exchange import packed, restore, unpacked
from molflow.md.flattening import FlatteningPlan
from molflow.md.minimise import minimise
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: The fewest frames of a replica that ends early, and the share of its time for equilibration.
_FEWEST, _EQUILIBRATION = 30, 0.2
#: Iterations of the descent at the start of such a replica under a potential.
_DESCENT = 60


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


def ended_path(folder: Path) -> Path:
    """Return the file in a replica's folder that says that it has ended early."""
    return folder / "ended"


class Replica:
    """A replica in a folder: segments of frames, and one checkpoint after each segment.

    Plain MD is parallel tempering with one temperature. The frames are those of the first
    temperature, taken before the exchange that follows them. The checkpoint holds the states of
    all walkers, the context's own checkpoint (for the random numbers of the thermostat) and the
    state of the generator that decides exchanges, so that a resumed run makes the same frames.

    Under a static bias V the energies are those of the system without it, and every frame has the
    logarithm of its weight, V / kT.

    With a `deadline` (of `time.time`) it ends where it is then, with 30 frames at least, and the
    file ``ended`` says so; equilibration gets a fifth of the time that is left at the start.
    """

    def __init__(
        self,
        system: MolecularSystem,
        plan: ReplicaPlan,
        folder: Path,
        bias: TorsionBias | None = None,
        deadline: float | None = None,
    ):
        self.system, self.plan, self.folder, self.bias = system, plan, Path(folder), bias
        self.deadline = float("inf") if deadline is None else deadline
        self.begun = time.time()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.simulation = make_simulation(
            system,
            plan.temperatures[0],
            derive_seed(plan.seed, "thermostat", bits=31),
            plan.platform,
            () if bias is None else bias.forces(),
        )
        interval = plan.frame_interval / plan.exchanges_per_frame
        steps = round(interval * 1e3 / system.timestep)
        states = [{"temperature": value * unit.kelvin} for value in plan.temperatures]
        self.sampler = ReplicaExchangeSampler(states, self.simulation, steps)

    @property
    def ended_path(self) -> Path:
        """File of a replica that has ended early."""
        return ended_path(self.folder)

    @property
    def checkpoint_path(self) -> Path:
        """File that is rewritten after each segment."""
        return self.folder / "checkpoint.npz"

    def segment_path(self, index: int) -> Path:
        """File of one segment."""
        return self.folder / f"segment-{index:05d}.npz"

    def run(self) -> None:
        """Run to the end of the plan, from the checkpoint if there is one."""
        segment = self._restore() if self.checkpoint_path.exists() else self._start()
        while segment < self.plan.segments:
            done = segment * self.plan.segment_frames
            count = min(self.plan.segment_frames, self.plan.frames - done)
            recorded = self._record(count, self.deadline, max(1, _FEWEST - done))
            write_arrays(self.segment_path(segment), **recorded)
            segment += 1
            self._save(segment)
            if time.time() > self.deadline:
                write_text(self.ended_path, "")
                return

    def _start(self) -> int:
        # ReplicaExchangeSampler draws its exchanges from Python's global generator.
        random.seed(derive_seed(self.plan.seed, "exchange"))
        simulation = self.simulation
        costly = self.system.potential is not None and self.deadline < float("inf")
        minimise(self.system, simulation.context, iterations=_DESCENT if costly else 0)
        simulation.context.setVelocitiesToTemperature(
            self.plan.temperatures[0] * unit.kelvin,
            derive_seed(self.plan.seed, "velocities", bits=30),
        )
        state = simulation.context.getState(
            positions=True, velocities=True, parameters=True, integratorParameters=True
        )
        self.sampler.replicaConformation = [state] * len(self.plan.temperatures)
        left = self.deadline - self.begun
        self._record(self.plan.equilibration_frames, self.begun + _EQUILIBRATION * left)
        self._save(0)
        return 0

    def _record(self, frames: int, deadline: float, fewest: int = 0) -> dict[str, np.ndarray]:
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
                f"the simulation in '{self.folder}' blew up (its energy is not finite): "
                "check the structure and the time step."
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

    def _save(self, segment: int) -> None:
        bias = None if self.bias is None else self.bias.digest
        write_arrays(self.checkpoint_path, **packed(self.sampler, segment=segment, bias=bias))

    def _restore(self) -> int:
        stored = read_arrays(self.checkpoint_path)
        text = unpacked(stored)
        if text.get("bias") != (None if self.bias is None else self.bias.digest):
            raise MolflowError(
                f"'{self.folder}' was begun under another bias: choose another folder."
            )
        restore(self.sampler, stored)
        return text["segment"]
