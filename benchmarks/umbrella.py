"""Umbrella sampling in one torsion with exchanges between windows, put together by MBAR.

The second way to the free energies of `yardstick.py`: no bias in psi, no metadynamics, other
weights (Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008)), and the same force field.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from openmm.app import ReplicaExchangeSampler
from scipy.special import logsumexp

from molflow.files import read_arrays, write_arrays
from molflow.md.build import make_simulation
from molflow.md.exchange import packed, restore, unpacked
from molflow.md.torsions import torsion
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: Windows round the circle, and the strength of a bias K (1 - cos(phi - centre)), kJ/mol.
WINDOWS, K = 24, 80.0
#: ps between exchanges, of which each gives a sample a window; iterations between checkpoints.
INTERVAL, SEGMENT = 0.5, 40
#: ps that every window runs by itself first, and ps with exchanges that are thrown away.
ALONE, DROPPED = 20.0, 50.0


def centres() -> np.ndarray:
    """Return the middles of the windows, rad."""
    return -np.pi + 2 * np.pi * (np.arange(WINDOWS) + 0.5) / WINDOWS


def umbrella_run(
    system: MolecularSystem, torsions: list[list[int]], length: float, seed: int, folder: Path
) -> np.ndarray:
    """Return the torsions of one run, (iterations, WINDOWS, len(torsions)) in rad.

    The first torsion is biased. Goes on where an interrupted call with the same arguments was; the
    Reference platform and Python keep one generator a process, so each run wants its own process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    iterations = round((DROPPED + length) / INTERVAL)
    bias = openmm.CustomTorsionForce("k * (1 - cos(theta - centre))")
    bias.addGlobalParameter("k", K)
    bias.addGlobalParameter("centre", 0.0)
    bias.addTorsion(*torsions[0], [])
    bias.setForceGroup(31)
    simulation = make_simulation(
        system, system.temperature, derive_seed(seed, "umbrella", bits=31), "Reference", [bias]
    )
    steps = round(INTERVAL * 1e3 / system.timestep)
    sampler = ReplicaExchangeSampler([{"centre": c} for c in centres()], simulation, steps)
    checkpoint = folder / "checkpoint.npz"
    if checkpoint.exists():
        stored = read_arrays(checkpoint)
        restore(sampler, stored)
        segment = unpacked(stored)["segment"]
    else:
        random.seed(derive_seed(seed, "umbrella exchange"))
        simulation.minimizeEnergy()
        simulation.context.setVelocitiesToTemperature(
            system.temperature * unit.kelvin, derive_seed(seed, "umbrella velocities", bits=30)
        )
        state = simulation.context.getState(
            positions=True, velocities=True, parameters=True, integratorParameters=True
        )
        sampler.replicaConformation = [state] * WINDOWS
        for window in range(WINDOWS):
            sampler.simulateReplica(window, round(ALONE * 1e3 / system.timestep))
        segment = 0
        write_arrays(checkpoint, **packed(sampler, segment=0))
    found: list[np.ndarray] = []

    def record(current: ReplicaExchangeSampler) -> None:
        frames = np.empty((WINDOWS, len(system.start_positions()), 3))
        for walker, window in enumerate(current.replicaStateIndex):
            state = current.replicaConformation[walker]
            frames[window] = state.getPositions(asNumpy=True)._value
        found.append(np.stack([torsion(frames, atoms) for atoms in torsions], axis=1))

    sampler.reporters = [record]
    while segment * SEGMENT < iterations:
        found.clear()
        sampler.simulate(min(SEGMENT, iterations - segment * SEGMENT))
        write_arrays(folder / f"segment-{segment:05d}.npz", torsions=np.array(found))
        segment += 1
        write_arrays(checkpoint, **packed(sampler, segment=segment))
    parts = [read_arrays(folder / f"segment-{k:05d}.npz")["torsions"] for k in range(segment)]
    return np.concatenate(parts)[round(DROPPED / INTERVAL) :]


def mbar_log_weights(first: np.ndarray, kt: float) -> np.ndarray:
    """Return the logarithms of the weights of samples without a bias, like `first`.

    Parameters
    ----------
    first : ndarray, (iterations, WINDOWS)
        The biased torsion of the samples of every window, rad.
    kt : float
        kJ/mol.
    """
    from pymbar import MBAR

    angles = first.T.ravel()  # window by window
    reduced = K / kt * (1 - np.cos(angles - centres()[:, None]))
    counts = np.full(len(reduced), len(first))
    mbar = MBAR(reduced, counts)
    # Eq. 13 of the paper for the state without a bias.
    unbiased = -logsumexp(mbar.f_k[:, None] + np.log(counts)[:, None] - reduced, axis=0)
    return unbiased.reshape(len(reduced), len(first)).T


def run_of(system: MolecularSystem, torsions, length: float, seed: int, out: Path) -> Path:
    """Write the torsions and log weights of one run as ``.npz``, if they are not there yet."""
    path = out.with_suffix(".npz")
    if not path.exists():
        found = umbrella_run(system, torsions, length, seed, out)
        log_weights = mbar_log_weights(found[..., 0], thermal_energy(system.temperature))
        write_arrays(path, torsions=found.astype(np.float32), log_weights=log_weights)
    return path
