"""What heats and what cools the chains of a map: its force, and the length of its steps."""

from __future__ import annotations

import mdtraj
import numpy as np
import torch
from dynamics_strong import by_map, on_learned_force

from molflow.analysis.kinetics.temperatures import (
    atom_temperatures,
    masses_of,
    mode_temperatures,
    modes,
)
from molflow.brownian.increment import Increment
from molflow.md.energies import evaluate
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths
from molflow.systems import MolecularSystem
from molflow.units import GAS_CONSTANT

#: 1/ps and ps of the walk that brings frames of another potential to the map's own law.
THICK, RELAXING = 10.0, 2.0
#: ps and 1/ps of the walk under the map's force alone; fs of its steps; ps between states.
ALONE, FRICTIONLESS, FINE, EVERY = 1.6, 1e-3, 0.5, 0.04
#: fs, of the force along one step: there kinetic energy and potential of a vibration differ by its
#: (ωh)²/4, which at `FINE` is 2 % for bonds of hydrogen.
FINEST = 0.25


class Turned:
    """Paths whose noise has the other sign."""

    def __init__(self, paths: ChainPaths):
        self.paths = paths

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from s to t, turned round."""
        given = self.paths.increment(s, t)
        return given.with_whitened(-given.whitened())


def groups_of(topology: mdtraj.Topology, states: np.ndarray) -> dict[str, np.ndarray]:
    """Return kinetic temperatures (n,) of states (n, 2, atoms, 3) in K, by element and motion."""
    terms, symbols = modes(topology), np.array([atom.element.symbol for atom in topology.atoms])
    atoms = atom_temperatures(states[:, 1], masses_of(topology))
    inner = mode_temperatures(states[:, 0], states[:, 1], masses_of(topology), terms)
    kinds = np.array([term.kind for term in terms])
    found = {"atoms": atoms.mean(axis=1)}
    found |= {name: atoms[:, symbols == name].mean(axis=1) for name in sorted(set(symbols))}
    return found | {
        kind: inner[:, kinds == kind].mean(axis=1) for kind in ("bond", "angle", "torsion")
    }


def energies(system: MolecularSystem, states: np.ndarray) -> np.ndarray:
    """Return kinetic energy and that of the potential (n,), in K of the kinetic temperature."""
    kinetic = atom_temperatures(states[:, 1], masses_of(system.topology())).mean(axis=1)
    potential = evaluate(system, states[:, 0], jobs=1).energies
    return kinetic + potential / (1.5 * states.shape[2] * GAS_CONSTANT)


def added_by(
    flow_map, topology: mdtraj.Topology, states: np.ndarray, off: np.ndarray
) -> np.ndarray:
    """Return the energy (n,) that changes (n, 2, atoms, 3) of no mean add to states, in K like
    `energies`: their own kinetic energy, and half the work of what they change of the force."""
    like = next(flow_map.parameters())
    x, moved = (torch.from_numpy(part[:, 0]).to(like) for part in (states, off))
    with torch.no_grad():
        change = flow_map.force(x + moved) - flow_map.force(x)
    work = -0.5 * (change * moved).double().sum((1, 2)).numpy()
    kinetic = atom_temperatures(off[:, 1], masses_of(topology)).mean(axis=1)
    return kinetic + work / (1.5 * states.shape[2] * GAS_CONSTANT)


def mean(values: np.ndarray) -> dict[str, float]:
    """Return the mean of independent numbers (n,) and its standard error."""
    return {"value": float(values.mean()), "error": float(values.std() / len(values) ** 0.5)}


def balance(
    flow_map, system: MolecularSystem, starts: np.ndarray, lag: float, seed: int
) -> dict[str, dict]:
    """Return what a step does to energy and temperatures and what the force does alone.

    Parameters
    ----------
    flow_map : BondedLangevinFlowMap
    system : MolecularSystem
        Whose potential it is.
    starts : ndarray, (chains, atoms, 3)
        nm; a fourth of them walks under the force alone.
    lag : float
        fs.
    seed : int

    Returns
    -------
    dict
        ``by_a_step``: K that a step of the map adds beside its own force, followed finely on the
        same path from thermal velocities, to kinetic temperatures and to the whole ``energy``.
        Each path is taken with velocities and noise turned round besides, so that the work of an
        error along them cancels. ``by_residual_noise``: K of the energy that noise like all of the
        difference would add, lost or not. ``by_the_force``: K/ps that this force adds without
        friction or noise, the slope over `ALONE`: none, were it the gradient of an energy.
    """
    topology = system.topology()
    kelvin, atoms = flow_map.temperature, starts.shape[1]
    thick = flow_map.at(kelvin, THICK)
    x = start_state(flow_map, starts, seed)
    paths = ChainPaths(thick.basis, len(x), atoms, seed)
    x = Motion(thick).walk(x, paths, 0.0, RELAXING, round(1e3 * RELAXING / lag))
    x = start_state(flow_map, x[:, 0].numpy(), seed + 1)
    paths = ChainPaths(flow_map.basis, len(x), atoms, seed + 1)
    turned = torch.stack([x[:, 0], -x[:, 1]], dim=1)
    added, noise = [], []
    for start, way in ((x, paths), (turned, Turned(paths))):
        ends = [
            by_map(flow_map, lag, start, way, 1, 1e-3 * lag)[0],
            on_learned_force(flow_map, FINEST, start, way, 1, 1e-3 * lag)[0],
        ]
        after = [
            groups_of(topology, states) | {"energy": energies(system, states)} for states in ends
        ]
        added.append({name: after[0][name] - after[1][name] for name in after[0]})
        noise.append(added_by(flow_map, topology, ends[0], ends[1] - ends[0]))
    free, some = flow_map.at(kelvin, FRICTIONLESS), x[::4]
    paths = ChainPaths(free.basis, len(some), atoms, seed + 2)
    walked = on_learned_force(free, FINE, some, paths, round(ALONE / EVERY), EVERY)
    rows = [groups_of(topology, states) for states in walked]
    times = EVERY * np.arange(1, len(rows) + 1)
    slopes = {
        name: np.polyfit(times, np.array([row[name] for row in rows]), 1)[0] for name in rows[0]
    }
    return {
        "by_a_step": {name: mean(0.5 * (added[0][name] + added[1][name])) for name in added[0]},
        "by_residual_noise": mean(0.5 * (noise[0] + noise[1])),
        "by_the_force": {name: mean(slope) for name, slope in slopes.items()},
        "chains": {"by_a_step": len(x), "by_the_force": len(some)},
    }  # fmt: skip
