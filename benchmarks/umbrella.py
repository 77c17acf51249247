"""Umbrella sampling in one torsion with exchanges between windows, put together by MBAR.

The second way to the free energies of `yardstick.py`: the molecule is held in windows of phi, and
the windows say by their overlap how they stand to each other (Shirts and Chodera, J. Chem. Phys.
129, 124105 (2008)), where a run under one bias has to wait for the molecule to go there and back.
In all windows the same bias in phi and psi frees psi: without it, where phi is on its barrier,
psi stays as it came from either side, and ΔF(αL) was half a kT off after 14 ns.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from openmm.app import ReplicaExchangeSampler
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp
from scipy.stats import t as student

from molflow.files import read_arrays, write_arrays
from molflow.md.bias import TorsionBias
from molflow.md.build import make_simulation
from molflow.md.exchange import packed, restore, unpacked
from molflow.md.torsions import torsion
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem

#: Windows round the circle, and the strength of a bias K (1 - cos(phi - centre)), kJ/mol.
WINDOWS, K = 24, 80.0
#: ps between exchanges, of which each gives a sample a window; iterations between checkpoints.
INTERVAL, SEGMENT = 0.5, 40
#: ps that every window runs by itself first, and ps with exchanges that are thrown away.
ALONE, DROPPED = 10.0, 20.0
#: Blocks of the jackknife: so many at least, equally many in every run.
BLOCKS = 20


def centres() -> np.ndarray:
    """Return the middles of the windows, rad."""
    return -np.pi + 2 * np.pi * (np.arange(WINDOWS) + 0.5) / WINDOWS


def umbrella_run(
    system: MolecularSystem, common: TorsionBias, length: float, seed: int, folder: Path
) -> np.ndarray:
    """Return the torsions of one run, (iterations, WINDOWS, 2) in rad.

    The first torsion of the common bias is held in windows. Goes on where a call with the same
    arguments was, or with a shorter length; the Reference platform and Python keep one generator a
    process, so each run wants its own process.
    """
    (torsions,) = common.terms
    folder.mkdir(parents=True, exist_ok=True)
    iterations = round((DROPPED + length) / INTERVAL)
    bias = openmm.CustomTorsionForce("k * (1 - cos(theta - centre))")
    bias.addGlobalParameter("k", K)
    bias.addGlobalParameter("centre", 0.0)
    bias.addTorsion(*torsions[0], [])
    bias.setForceGroup(30)
    simulation = make_simulation(
        system, system.temperature, derive_seed(seed, "umbrella", bits=31), "Reference",
        [bias, *common.forces()],
    )  # fmt: skip
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
        found.append(np.stack([torsion(frames, list(a)) for a in torsions], axis=1))

    sampler.reporters = [record]
    while segment * SEGMENT < iterations:
        found.clear()
        sampler.simulate(min(SEGMENT, iterations - segment * SEGMENT))
        write_arrays(folder / f"segment-{segment:05d}.npz", torsions=np.array(found))
        segment += 1
        write_arrays(checkpoint, **packed(sampler, segment=segment))
    parts = [read_arrays(folder / f"segment-{k:05d}.npz")["torsions"] for k in range(segment)]
    return np.concatenate(parts)[round(DROPPED / INTERVAL) :]


def spline(table: np.ndarray, torsions: np.ndarray) -> np.ndarray:
    """Return the periodic spline of a bias in two torsions, as OpenMM's, at (..., 2) in rad."""
    knots = np.linspace(-np.pi, np.pi, len(table) + 1)
    one = np.pad(table, (0, 1), mode="wrap")
    inner = CubicSpline(knots, one, axis=1, bc_type="periodic")(torsions[..., 1].ravel())
    # Row by row of the first torsion: a spline for each sample, evaluated at its own place.
    outer = CubicSpline(knots, inner, axis=0, bc_type="periodic")
    first = torsions[..., 0].ravel()
    place = np.clip(np.searchsorted(knots, first, "right") - 1, 0, len(table) - 1)
    offset = first - knots[place]
    column = np.arange(len(place))
    powers = (outer.c[3 - k, place, column] * offset**k for k in range(4))
    return sum(powers).reshape(torsions.shape[:-1])


def mbar_log_weights(
    first: np.ndarray, common: np.ndarray, kt: float, guess: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of the weights of samples without a bias, and what MBAR solved for.

    Parameters
    ----------
    first : ndarray, (n, WINDOWS)
        The torsion that is held, of the samples of every window, rad.
    common : ndarray, (n, WINDOWS)
        Bias of the samples that all windows share, kJ/mol.
    kt : float
        kJ/mol.
    guess : ndarray, (WINDOWS,), optional
        Reduced free energies of the windows to begin with.

    Returns
    -------
    tuple
        Log weights, like `first`, whose exponentials sum to 1, and the free energies (WINDOWS,).
    """
    from pymbar import MBAR

    angles = first.T.ravel()  # window by window
    reduced = K / kt * (1 - np.cos(angles - centres()[:, None]))
    counts = np.full(len(reduced), len(first))
    f = MBAR(reduced, counts, initial_f_k=guess).f_k
    # Eq. 13 of the paper for the state without a bias.
    unbiased = common.T.ravel() / kt
    unbiased -= logsumexp(f[:, None] + np.log(counts)[:, None] - reduced, axis=0)
    unbiased -= logsumexp(unbiased)
    return unbiased.reshape(len(reduced), len(first)).T, f


def umbrella_free_energy(
    runs: list[np.ndarray],
    table: np.ndarray,
    inside: Callable[[np.ndarray], np.ndarray],
    kt: float,
) -> dict:
    """Return -ln[P(inside) / P(rest)] of umbrella sampling with its error, in kT.

    Parameters
    ----------
    runs : list of ndarray, (n, WINDOWS, 2)
        Torsions of independent runs, in order of time.
    table : ndarray, (m, m)
        Of the bias that all windows share, kJ/mol.
    inside : callable
        Torsions (m, 2) to marks (m,).
    kt : float
        kJ/mol.

    Returns
    -------
    dict
        ``value``, ``error`` and ``interval`` (95 %) by a jackknife over blocks of time of all
        windows, for each of which MBAR is solved anew; ``by_run``; ``blocks``.
    """

    def energy(torsions: np.ndarray, guess: np.ndarray | None) -> tuple[float, np.ndarray]:
        common = spline(table, torsions)
        log_weights, f = mbar_log_weights(torsions[..., 0], common, kt, guess)
        marks = inside(torsions.reshape(-1, torsions.shape[-1]))
        weights = np.exp(log_weights).ravel()
        return float(np.log(weights[~marks].sum() / weights[marks].sum())), f

    each = -(-BLOCKS // len(runs))
    parts = [part for run in runs for part in np.array_split(run, each)]
    value, f = energy(np.concatenate(parts), None)
    without = np.array([
        energy(np.concatenate(parts[:k] + parts[k + 1 :]), f)[0] for k in range(len(parts))
    ])  # fmt: skip
    count = len(parts)
    error = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    half = float(student.ppf(0.975, count - 1)) * error
    return {
        "value": value, "error": error, "interval": [value - half, value + half],
        "by_run": [energy(run, f)[0] for run in runs], "blocks": count,
    }  # fmt: skip


def run_of(system: MolecularSystem, common: TorsionBias, length: float, seed: int, out: Path):
    """Write the torsions of one run as ``.npz``, if they are not there yet, and return its path."""
    path = out.with_name(f"{out.name}-{length:g}ps.npz")
    if not path.exists():
        found = umbrella_run(system, common, length, seed, out)
        write_arrays(path, torsions=found.astype(np.float32))
    return path
