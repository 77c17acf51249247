"""The temperature of atoms, elements, bonds, angles and torsions, from velocities or from widths.

Every quantity here is k times the temperature on average in a molecule in equilibrium, whatever its
potential (the kinetic ones), or for a stiff mode (those from widths). A map that loses or makes
fluctuation in some modes shows it here, mode by mode.
"""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.geometry import Term, measure, sd_ratio, terms, torsion_terms
from molflow.analysis.molecule.internal_rates import rates
from molflow.units import GAS_CONSTANT

#: Pieces of the runs from which errors are estimated, at least, where runs are long enough.
_PIECES = 16


def masses_of(topology: mdtraj.Topology) -> np.ndarray:
    """Return the masses of the elements of all atoms, (n_atoms,) amu."""
    return np.array([atom.element.mass for atom in topology.atoms])


def modes(topology: mdtraj.Topology) -> list[Term]:
    """Return all bonds and angles, and one torsion about every bond that has one."""
    kept = [term for term in terms(topology) if term.kind in ("bond", "angle")]
    return kept + torsion_terms(topology)


def atom_temperatures(velocities: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return m |v|²/(3 k) of every atom of every frame, (n, n_atoms) in K.

    Parameters
    ----------
    velocities : ndarray, (n, n_atoms, 3)
        nm/ps.
    masses : ndarray, (n_atoms,)
        amu.
    """
    squares = np.sum(velocities.astype(np.float64) ** 2, axis=2)
    return masses * squares / (3.0 * GAS_CONSTANT)


def mode_temperatures(
    positions: np.ndarray, velocities: np.ndarray, masses: np.ndarray, term_list: list[Term]
) -> np.ndarray:
    """Return q̇²/(k B M⁻¹ Bᵀ) of every term of every frame, (n, terms) in K.

    Given the positions, q̇ = B v of thermal velocities is Gaussian of variance kT B M⁻¹ Bᵀ (B the
    derivatives of q), so that the average is T exactly. Shapes as for
    `molflow.analysis.molecule.internal_rates.rates`.
    """
    rate, inverse = rates(positions, velocities, masses, term_list)
    return rate**2 / (GAS_CONSTANT * inverse)


def width_temperatures(
    positions: np.ndarray, reference: np.ndarray, term_list: list[Term], temperature: float
) -> np.ndarray:
    """Return the temperature of every term by its variance, (terms,) in K.

    The variance over that of a reference, times the reference's temperature: the configurational
    temperature of a harmonic mode. Of bonds and angles, not of torsions that change basins.

    Parameters
    ----------
    positions, reference : ndarray, (n, n_atoms, 3) and (m, n_atoms, 3)
        nm.
    term_list : list of Term
    temperature : float
        Of the reference, K.
    """
    sides = (measure(frames, term_list) for frames in (positions, reference))
    return temperature * sd_ratio(*sides) ** 2


def group_means(
    samples: np.ndarray, runs: np.ndarray, groups: dict[str, list[int]]
) -> dict[str, dict[str, float]]:
    """Return the mean of columns that belong together, with its standard error.

    Parameters
    ----------
    samples : ndarray, (n, k)
        Temperatures, say, in order of time within every run.
    runs : ndarray, (n,)
        Label of the run of each frame. Runs are cut into pieces until there are 16 of them, and
        the error is that of the mean of independent pieces.
    groups : dict of str to list of int
        Columns; an empty one is left out.

    Returns
    -------
    dict of str to dict
        ``value`` and ``error``, in the unit of the samples.
    """
    labels = np.unique(runs)
    each = -(-_PIECES // len(labels))
    cuts = [
        cut for run in labels for cut in np.array_split(np.flatnonzero(runs == run), each)
        if len(cut)
    ]  # fmt: skip
    sizes = np.array([len(cut) for cut in cuts])
    found = {}
    for name, columns in groups.items():
        if columns:
            rows = samples[:, columns].mean(axis=1)
            parts = np.array([rows[cut].mean() for cut in cuts])
            value = np.average(parts, weights=sizes)
            spread = np.average((parts - value) ** 2, weights=sizes) / max(1, len(cuts) - 1)
            found[name] = {"value": float(value), "error": float(np.sqrt(spread))}
    return found


def kinetic_table(
    positions: np.ndarray,
    velocities: np.ndarray,
    topology: mdtraj.Topology,
    runs: np.ndarray,
    masses: np.ndarray | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return kinetic temperatures by element and by kind of mode, with standard errors.

    Parameters
    ----------
    positions, velocities : ndarray, (n, n_atoms, 3)
        nm and nm/ps, at the same times.
    topology : mdtraj.Topology
        With bonds.
    runs : ndarray, (n,)
        Label of the run of each frame.
    masses : ndarray, (n_atoms,), optional
        amu; by default those of the elements.

    Returns
    -------
    dict
        ``all`` with one entry ``atoms``, ``elements`` by symbol, ``modes`` by ``bond``, ``angle``
        and ``torsion``: each ``value`` and ``error`` in K.
    """
    masses = masses_of(topology) if masses is None else masses
    symbols = [atom.element.symbol for atom in topology.atoms]
    by_element = {
        symbol: [i for i, other in enumerate(symbols) if other == symbol]
        for symbol in sorted(set(symbols))
    }
    term_list = modes(topology)
    by_kind = {
        kind: [i for i, term in enumerate(term_list) if term.kind == kind]
        for kind in ("bond", "angle", "torsion")
    }
    atoms = atom_temperatures(velocities, masses)
    internal = mode_temperatures(positions, velocities, masses, term_list)
    return {
        "all": group_means(atoms, runs, {"atoms": list(range(len(symbols)))}),
        "elements": group_means(atoms, runs, by_element),
        "modes": group_means(internal, runs, by_kind),
    }
