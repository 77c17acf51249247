"""What stored chains of a map remember, and the temperature of every single motion of them."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.kinetics.temperatures import (
    group_means,
    masses_of,
    mode_temperatures,
    modes,
)
from molflow.analysis.statistics import statistical_inefficiency

#: Draws of whole chains, and per cent of them outside the interval, on both sides together.
DRAWS, OUTSIDE = 200, 5.0


def memory(torsions: np.ndarray, chain: np.ndarray, interval: float, seed: int = 0) -> dict:
    """Return the time that is worth one independent frame, in ps.

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        phi and psi of chains of equal length, one after the other.
    chain : ndarray, (n,)
        Label of the chain of each frame.
    interval : float
        ps between frames.
    seed : int

    Returns
    -------
    dict
        ``by_function`` of the torsions, and of the ``slowest`` of these the ``value`` and a 95 %
        ``interval`` by drawing whole chains again, which are independent.
    """
    count = len(np.unique(chain))
    waves = {"cos phi": np.cos, "cos psi": np.cos, "sin phi": np.sin, "sin psi": np.sin}
    angles = dict(zip(("phi", "psi"), torsions.T, strict=True))
    columns = [wave(angles[name[4:]]) for name, wave in waves.items()]
    series = np.stack(columns, axis=1).reshape(count, -1, len(columns))

    def of(rows: np.ndarray) -> np.ndarray:
        runs = np.repeat(np.arange(len(rows)), rows.shape[1])
        return interval * np.array(
            [statistical_inefficiency(rows[..., k].ravel(), runs) for k in range(len(columns))]
        )

    generator = np.random.default_rng(seed)
    drawn = [of(series[generator.integers(count, size=count)]).max() for _ in range(DRAWS)]
    found = of(series)
    ends = np.percentile(drawn, [0.5 * OUTSIDE, 100.0 - 0.5 * OUTSIDE])
    return {
        "by_function": dict(zip(waves, found.tolist(), strict=True)),
        "slowest": {"value": float(found.max()), "interval": ends.tolist()},
    }


def single_modes(
    positions: np.ndarray, velocities: np.ndarray, topology: mdtraj.Topology, chain: np.ndarray
) -> dict[str, dict[str, float]]:
    """Return the kinetic temperature of every bond, angle and torsion in K, with its standard error
    over the chains.

    Shapes as for `molflow.analysis.kinetics.temperatures.kinetic_table`. Names are those of the
    atoms: ``bond ALA2-C ALA2-O``.
    """
    terms, atoms = modes(topology), list(topology.atoms)
    samples = mode_temperatures(positions, velocities, masses_of(topology), terms)
    names = [" ".join([term.kind, *(str(atoms[i]) for i in term.atoms)]) for term in terms]
    return group_means(samples, chain, {name: [k] for k, name in enumerate(names)})


def extremes(table: dict[str, dict[str, float]]) -> dict[str, dict]:
    """Return the coldest and the hottest of `single_modes`, with their names."""
    order = sorted(table, key=lambda name: table[name]["value"])
    ends = {"coldest": order[0], "hottest": order[-1]}
    return {end: {"mode": name} | table[name] for end, name in ends.items()}
