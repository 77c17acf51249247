"""What heats and what cools the chains of a map: its force, and the length of its steps."""

from __future__ import annotations

import mdtraj
import numpy as np
from dynamics_strong import by_map, on_learned_force

from molflow.analysis.kinetics.temperatures import (
    atom_temperatures,
    masses_of,
    mode_temperatures,
    modes,
)
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths

#: 1/ps and ps of the walk that brings frames of another potential to the map's own law.
THICK, RELAXING = 10.0, 2.0
#: ps and 1/ps of the walk under the map's force alone; fs of its steps; ps between states.
ALONE, FRICTIONLESS, FINE, EVERY = 1.6, 1e-3, 0.5, 0.04


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


def mean(values: np.ndarray) -> dict[str, float]:
    """Return the mean of independent numbers (n,) and its standard error."""
    return {"value": float(values.mean()), "error": float(values.std() / len(values) ** 0.5)}


def balance(
    flow_map, topology: mdtraj.Topology, starts: np.ndarray, lag: float, seed: int
) -> dict[str, dict]:
    """Return what a step does to kinetic temperatures and what the force does alone.

    Parameters
    ----------
    flow_map : BondedLangevinFlowMap
    starts : ndarray, (chains, atoms, 3)
        nm; a fourth of them walks under the force alone.
    lag : float
        fs.
    seed : int

    Returns
    -------
    dict
        ``by_a_step``: K that a step of the map adds beside its own force, followed finely on the
        same path from thermal velocities. ``by_the_force``: K/ps that this force adds without
        friction or noise, the slope over `ALONE`: none, were it the gradient of an energy.
    """
    kelvin, atoms = flow_map.temperature, starts.shape[1]
    thick = flow_map.at(kelvin, THICK)
    x = start_state(flow_map, starts, seed)
    paths = ChainPaths(thick.basis, len(x), atoms, seed)
    x = Motion(thick).walk(x, paths, 0.0, RELAXING, round(1e3 * RELAXING / lag))
    x = start_state(flow_map, x[:, 0].numpy(), seed + 1)
    paths = ChainPaths(flow_map.basis, len(x), atoms, seed + 1)
    after = [
        groups_of(topology, states[0])
        for states in (
            by_map(flow_map, lag, x, paths, 1, 1e-3 * lag),
            on_learned_force(flow_map, FINE, x, paths, 1, 1e-3 * lag),
        )
    ]
    free, some = flow_map.at(kelvin, FRICTIONLESS), x[::4]
    paths = ChainPaths(free.basis, len(some), atoms, seed + 2)
    walked = on_learned_force(free, FINE, some, paths, round(ALONE / EVERY), EVERY)
    rows = [groups_of(topology, states) for states in walked]
    times = EVERY * np.arange(1, len(rows) + 1)
    slopes = {
        name: np.polyfit(times, np.array([row[name] for row in rows]), 1)[0] for name in rows[0]
    }
    return {
        "by_a_step": {name: mean(after[0][name] - after[1][name]) for name in after[0]},
        "by_the_force": {name: mean(slope) for name, slope in slopes.items()},
        "chains": {"by_a_step": len(x), "by_the_force": len(some)},
    }  # fmt: skip
