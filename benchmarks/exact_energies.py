"""Whether mean energies are right: checks that need no reference, and dynamics without a step.

Of a Boltzmann law and any smooth field v that does not grow too fast, ⟨∇·v⟩ = ⟨v·∇U⟩/kT. With v the
gradient of one term of the energy this is a temperature of that term, and the difference of both
sides, whose mean is known to be zero, takes most of the noise off the mean energy.
"""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import openmm

from molflow.analysis.weighting import effective_size, normalised
from molflow.comparison import find_reference
from molflow.files import read_arrays, write_arrays
from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.systems import load_system
from molflow.units import thermal_energy

#: Forces of a force field by what they hold together.
TERMS = {
    "HarmonicBondForce": "bonds", "HarmonicAngleForce": "angles",
    "PeriodicTorsionForce": "torsions", "NonbondedForce": "pairs", "GBSAOBCForce": "pairs",
}  # fmt: skip
#: nm, of the differences of forces.
_DIFFERENCE = 1e-5
#: amu, the least mass in moves: masses do not matter to positions, and slow hydrogens take longer
#: steps.
_MASS = 4.0


class Fields:
    """Both sides of the identity for the gradient of every term of an energy.

    Parameters
    ----------
    built : openmm.System
    kt : float
        kJ/mol.
    """

    def __init__(self, built: openmm.System, kt: float):
        names = [TERMS.get(force.getName(), force.getName()) for force in built.getForces()]
        self.terms = sorted(set(names) - {"CMMotionRemover"})
        for force, name in zip(built.getForces(), names, strict=True):
            force.setForceGroup(self.terms.index(name) if name in self.terms else 31)
        self.kt = kt
        integrator = openmm.VerletIntegrator(0.001)  # a context needs one
        self._context = openmm.Context(built, integrator, fitting_platform(built))

    def _forces(self, positions: np.ndarray) -> np.ndarray:
        self._context.setPositions(positions)
        return np.array([
            self._context.getState(forces=True, groups={k}).getForces(asNumpy=True)._value
            for k in range(len(self.terms))
        ])  # fmt: skip

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return U/kT, and ∇·v and v·∇U/kT (1/nm²) for v = ∇U_k/kT of each term, one molecule."""
        forces = self._forces(positions) / self.kt
        energy = self._context.getState(energy=True).getPotentialEnergy()._value / self.kt
        divergence = np.zeros(len(self.terms))
        for atom in range(len(positions)):
            for axis in range(3):
                step = np.zeros_like(positions)
                step[atom, axis] = _DIFFERENCE
                ahead, behind = (self._forces(positions + s * step) for s in (1.0, -1.0))
                divergence += (behind - ahead)[:, atom, axis] / (2.0 * _DIFFERENCE * self.kt)
        return energy, divergence, np.einsum("kai,ai->k", forces, forces.sum(0))


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the mean of independent values (n,) under weights (n,), and its standard error."""
    middle = float(weights @ values)
    return middle, float(np.sqrt(np.sum((weights * (values - middle)) ** 2)))


def judged(values, weights: np.ndarray, terms: list[str], temperature: float) -> dict:
    """Temperatures of terms and the mean energy of weighted, independent conformations.

    Parameters
    ----------
    values : tuple of ndarray
        What `Fields` says of each: (n,), (n, terms), (n, terms).
    weights : ndarray, (n,)
        Sum of 1.
    terms : list of str
    temperature : float
        K, of the law.

    Returns
    -------
    dict
        ``temperatures``, K, and ``mean_energy_kt``, each ``[value, standard error]``; the same
        mean ``with_identities``: U less the combination of the terms' differences that is nearest
        to it.
    """
    energy, divergence, squares = values
    found = {}
    for k, name in enumerate(terms):
        scale = weights @ divergence[:, k]
        ratio = weights @ squares[:, k] / scale
        _, error = weighted_mean((squares[:, k] - ratio * divergence[:, k]) / scale, weights)
        found[name] = [temperature * ratio, temperature * error]
    known = (squares - divergence) / np.std(squares, axis=0)
    design = np.column_stack([np.ones(len(energy)), known])
    root = np.sqrt(weights)[:, None]
    factors = np.linalg.lstsq(root * design, root[:, 0] * energy, rcond=None)[0]
    return {
        "n": len(energy),
        "effective": effective_size(len(energy), weights),
        "temperatures": found,
        "mean_energy_kt": list(weighted_mean(energy, weights)),
        "with_identities": list(weighted_mean(energy - known @ factors[1:], weights)),
    }


def hamiltonian(
    built: openmm.System, kt: float, starts: np.ndarray, moves: int, rng, step: float = 1.5
) -> tuple[np.ndarray, np.ndarray, float]:
    """Metropolised Hamiltonian dynamics, whose law has no error of the time step.

    Returns
    -------
    energies : ndarray, (chains, moves)
        U/kT after each move of 8 to 24 steps.
    ends : ndarray, like starts
    acceptance : float
    """
    for k, force in reversed(list(enumerate(built.getForces()))):
        if force.getName() == "CMMotionRemover":
            built.removeForce(k)
    n = built.getNumParticles()
    masses = np.array([max(built.getParticleMass(k)._value, _MASS) for k in range(n)])[:, None]
    for k in range(n):
        built.setParticleMass(k, masses[k, 0])
    h = 1e-3 * step
    context = openmm.Context(built, openmm.VerletIntegrator(h), fitting_platform(built))

    def now():
        state = context.getState(energy=True, forces=True, positions=True, velocities=True)
        arrays = (
            f(asNumpy=True)._value
            for f in (state.getPositions, state.getForces, state.getVelocities)
        )
        return state.getPotentialEnergy()._value, *arrays

    energies, ends, taken = [], [], 0
    for start in starts.astype(float):
        context.setPositions(start)
        context.setVelocities(np.zeros_like(start))
        energy, x, forces, _ = now()
        row = []
        for _ in range(moves):
            velocities = rng.normal(size=x.shape) * np.sqrt(kt / masses)
            before = energy + 0.5 * np.sum(masses * velocities**2)
            context.setPositions(x)
            # OpenMM's Verlet knows velocities half a step before positions.
            context.setVelocities(velocities - 0.5 * h * forces / masses)
            context.getIntegrator().step(int(rng.integers(8, 25)))
            new, place, pull, late = now()
            with np.errstate(over="ignore", invalid="ignore"):  # where a long step blows up
                after = new + 0.5 * np.sum(masses * (late + 0.5 * h * pull / masses) ** 2)
            if np.log(rng.random()) < (before - after) / kt:
                energy, x, forces = new, place, pull
                taken += 1
            row.append(energy / kt)
        energies.append(row)
        ends.append(x)
    return np.array(energies), np.array(ends), taken / (moves * len(starts))


def checked(system_name: str, work: Path, frames: int, chains: int, moves: int) -> dict:
    """Mean energies by weights, dynamics and moves without a step error, and what is known of each.

    Parameters
    ----------
    system_name : str
    work : Path
        With the runs that the part ``weights`` of `exact.py` left.
    frames : int
        Of dynamics, and at most of the weighted ones.
    chains, moves : int
        Of `hamiltonian`, from conformations of the reference; the first fifth is left out.
    """
    system = load_system(system_name)
    kt = thermal_energy(system.temperature)
    rng = np.random.default_rng(0)
    reference = find_reference(f"{system_name}/reference-flattened")
    shares = reference.position_weights / reference.position_weights.sum()
    rows = rng.choice(len(shares), chains + frames, p=shares)
    starts, dynamics = np.split(reference.positions[rows], [chains])
    energies, ends, acceptance = kept_moves(
        work / f"hamiltonian-{chains}-{moves}.npz", system, kt, starts, moves
    )
    means = energies[:, moves // 5 :].mean(1)
    sources = {"dynamics": (dynamics, None), "moves": (ends, None)}
    weighted = sorted(work.glob("weights-???.dcd"))
    if weighted:
        topology = str(weighted[0].with_name("topology.pdb"))
        positions = np.concatenate([mdtraj.load(str(one), top=topology).xyz for one in weighted])
        log_weights = np.concatenate([
            read_arrays(one.with_suffix(".npz"))["log_weights"] for one in weighted
        ])  # fmt: skip
        sources["weights"] = (positions, log_weights)
    found = {}
    for name, (positions, log_weights) in sources.items():
        weights = normalised(np.zeros(len(positions)) if log_weights is None else log_weights)
        some = weights > 0.0
        fields = Fields(build(system)[0], kt)
        each = map(fields, positions[some].astype(float))
        values = [np.array(part) for part in zip(*each, strict=True)]
        found[name] = judged(values, weights[some], fields.terms, system.temperature)
    runs = [reference.select([run]) for run in reference.runs]
    by_run = [np.average(run.energies, weights=run.weights) / kt for run in runs]
    return {
        **found,
        "moves_in_all": {
            "chains": chains, "moves": moves, "acceptance": acceptance,
            "mean_energy_kt": [float(means.mean()), float(means.std(ddof=1) / chains**0.5)],
        },
        "dynamics_in_all": {
            "runs": len(by_run), "timestep_fs": system.timestep,
            "mean_energy_kt": [
                float(np.mean(by_run)), float(np.std(by_run, ddof=1) / len(by_run) ** 0.5)
            ],
        },
    }  # fmt: skip


def kept_moves(place: Path, system, kt: float, starts, moves: int):
    """Return what `hamiltonian` does from starts, from a file if it is there."""
    if not place.is_file():
        rng = np.random.default_rng(1)
        energies, ends, acceptance = hamiltonian(build(system)[0], kt, starts, moves, rng)
        write_arrays(place, energies=energies, ends=ends, acceptance=np.array(acceptance))
    kept = read_arrays(place)
    return kept["energies"], kept["ends"], float(kept["acceptance"])
