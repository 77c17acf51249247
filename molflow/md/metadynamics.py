"""Well-tempered metadynamics in torsions: it builds the bias under which a simulation runs then.

A bias grows where the torsions have been, ever more slowly, and tends to -(1 - 1/g) times their
free energy (Barducci, Bussi, Parrinello, PRL 100, 020603 (2008)); g is the bias factor. Several
terms grow side by side, each by its own torsions. What has been built need not be exact: under the
static bias that is made of it, weights are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from openmm import unit

from molflow.errors import MolflowError
from molflow.files import read_arrays
from molflow.md.bias import TorsionBias, TorsionForces, group_of
from molflow.md.build import make_simulation, start_anew
from molflow.md.flattening import FlatteningPlan
from molflow.md.minimise import minimise
from molflow.md.replica import Arrays, segment_path
from molflow.md.torsions import torsion
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy


def gaussian(centre: np.ndarray, width: float, grid: int) -> np.ndarray:
    """Return a periodic Gaussian of height 1 on the grid of a table.

    Parameters
    ----------
    centre : ndarray, (k,)
        rad.
    width : float
        Standard deviation, rad.
    grid : int
        Points in every direction, from -pi.
    """
    points = -np.pi + 2 * np.pi * np.arange(grid) / grid
    result = np.ones(())
    for value in centre:
        distance = (points - value + np.pi) % (2 * np.pi) - np.pi
        result = np.multiply.outer(result, np.exp(-0.5 * (distance / width) ** 2))
    return result


class Metadynamics:
    """Metadynamics, a segment at a time.

    Parameters
    ----------
    system : MolecularSystem
    plan : FlatteningPlan
    platform : str
    """

    def __init__(self, system: MolecularSystem, plan: FlatteningPlan, platform: str):
        self.system, self.plan, self.platform = system, plan, platform
        self.kt = thermal_energy(system.temperature)
        self.tables = self._flat()
        self.bias = TorsionForces(plan.terms, self.tables)
        self.simulation = make_simulation(
            system, system.temperature, 1, platform, self.bias.forces
        )
        self.steps = round(plan.frame_interval * 1e3 / system.timestep)

    def _flat(self) -> list[np.ndarray]:
        return [np.zeros((self.plan.grid,) * len(term)) for term in self.plan.terms]

    def advance(
        self, seed: int, stored: Arrays | None, deadline: float = float("inf")
    ) -> tuple[Arrays | None, Arrays]:
        """Make the next segment, or the start, as `Replica.advance` does; it knows no deadline."""
        plan, context = self.plan, self.simulation.context
        done = 0
        if stored is None:
            self.tables = self._flat()
            self.bias.change(context, self.tables)
            start_anew(
                self.system, self.simulation, self.system.temperature,
                derive_seed(seed, "metadynamics", bits=31),
            )  # fmt: skip
            minimise(self.system, context)
            context.setVelocitiesToTemperature(
                self.system.temperature * unit.kelvin,
                derive_seed(seed, "metadynamics velocities", bits=30),
            )
        else:
            self.tables = [stored[f"table_{index}"] for index in range(len(self.tables))]
            self.bias.change(context, self.tables)
            context.loadCheckpoint(stored["context"].tobytes())
            done = int(stored["done"])
            for _ in range(min(plan.segment_frames, plan.frames - done)):
                self._deposit()
                done += 1
            if not all(np.isfinite(table).all() for table in self.tables):
                raise MolflowError("it blew up: check the structure and the time step.")
        tables = {f"table_{index}": table for index, table in enumerate(self.tables)}
        left = {
            "context": np.frombuffer(context.createCheckpoint(), dtype=np.uint8),
            "done": np.array(done),
            "name": _name_of(self.system, plan, seed, self.platform),
        }
        return None if stored is None else tables, tables | left

    def _deposit(self) -> None:
        plan, context = self.plan, self.simulation.context
        self.simulation.step(self.steps)
        positions = context.getState(positions=True).getPositions(asNumpy=True)._value[None]
        for index, term in enumerate(plan.terms):
            state = context.getState(energy=True, groups={group_of(index)})
            here = state.getPotentialEnergy()._value
            height = plan.height * np.exp(-here / ((plan.bias_factor - 1) * self.kt))
            centre = np.array([torsion(positions, list(atoms))[0] for atoms in term])
            self.tables[index] += height * gaussian(centre, plan.width, plan.grid)
        self.bias.change(context, self.tables)


def deposited_segments(plan: FlatteningPlan, stored: Arrays) -> int:
    """Return how many segments there are, of what the last has left behind."""
    return -(-int(stored["done"]) // plan.segment_frames)


def check_metadynamics(
    folder: Path, stored: Arrays, system: MolecularSystem, plan: FlatteningPlan, seed: int,
    platform: str,
) -> None:  # fmt: skip
    """Raise `MolflowError` if what a folder holds is of another metadynamics."""
    name = _name_of(system, plan, seed, platform)
    if not np.array_equal(stored.get("name", np.zeros(0)), name):
        raise MolflowError(f"'{folder}' holds another metadynamics: choose another folder.")


def _name_of(
    system: MolecularSystem, plan: FlatteningPlan, seed: int, platform: str
) -> np.ndarray:
    """Return what tells one metadynamics from another."""
    # The cap and the contrast come in only when the bias is made of the tables.
    built = {k: v for k, v in asdict(plan).items() if k not in ("cap", "contrast")}
    text = json.dumps([built, seed, platform, system.ensemble_hash])
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint8)


def built_bias(plan: FlatteningPlan, folder: str | Path) -> TorsionBias:
    """Return the static bias that finished metadynamics gives.

    The tables are averaged over the second half of the time, since they fluctuate about their
    limit. The free energy that they tell is cut off at the cap of the plan.
    """
    segments = -(-plan.frames // plan.segment_frames)
    stored = [
        read_arrays(segment_path(Path(folder), index))
        for index in range(segments // 2, segments)
    ]
    tables = []
    for index in range(len(plan.terms)):
        mean = np.mean([arrays[f"table_{index}"] for arrays in stored], axis=0)
        free_energy = (mean.max() - mean) * plan.bias_factor / (plan.bias_factor - 1)
        tables.append(-(1 - 1 / plan.contrast) * np.minimum(free_energy, plan.cap))
    return TorsionBias(plan.terms, tuple(tables))
