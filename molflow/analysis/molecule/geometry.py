"""Bond lengths, angles and impropers: every term against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import mdtraj
import numpy as np

from molflow.analysis import weighting
from molflow.analysis.molecule.graph import neighbours
from molflow.analysis.transport_1d import wasserstein_1d


@dataclass(frozen=True)
class Term:
    """One internal coordinate: its kind, atoms and readable name."""

    kind: str
    atoms: tuple[int, ...]
    name: str


def terms(topology: mdtraj.Topology) -> list[Term]:
    """Return all bonds, angles and impropers of a topology.

    An improper belongs to every atom with exactly three bonded neighbours a < b < c: the
    dihedral (a, b, c, centre), near 0 where the centre is planar, so that it never wraps.
    """
    table = neighbours(topology)
    found: dict[str, list[tuple[int, ...]]] = {"bond": [], "angle": [], "improper": []}
    for centre, around in enumerate(table):
        found["bond"] += [(centre, other) for other in around if other > centre]
        found["angle"] += [(a, centre, b) for a, b in combinations(around, 2)]
        if len(around) == 3:
            found["improper"].append((*around, centre))

    return [named(topology, kind, atoms) for kind in found for atoms in found[kind]]


def torsion_terms(topology: mdtraj.Topology) -> list[Term]:
    """Return one torsion about every bond between atoms that both have another neighbour."""
    table = neighbours(topology)
    found = []
    for b, around in enumerate(table):
        for c in (other for other in around if other > b):
            ends = [j for j in table[b] if j != c], [j for j in table[c] if j != b]
            if all(ends) and ends[0][0] != ends[1][0]:  # not in a ring of three
                found.append((ends[0][0], b, c, ends[1][0]))
    return [named(topology, "torsion", atoms) for atoms in found]


def named(topology: mdtraj.Topology, kind: str, atoms: tuple[int, ...]) -> Term:
    """Return the term of a kind between some atoms."""
    labels = [topology.atom(i) for i in atoms]
    return Term(kind, atoms, " – ".join(f"{atom.residue.resSeq}:{atom.name}" for atom in labels))


def measure(positions: np.ndarray, term_list: list[Term]) -> np.ndarray:
    """Return every term of every sample.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    term_list : list of Term

    Returns
    -------
    ndarray, (n, len(term_list)), float64
        Bonds in nm, angles, impropers and torsions in rad.
    """
    values = np.empty((len(positions), len(term_list)))
    for column, term in enumerate(term_list):
        points = [positions[:, i].astype(np.float64) for i in term.atoms]
        if term.kind == "bond":
            values[:, column] = np.linalg.norm(points[1] - points[0], axis=1)
        elif term.kind == "angle":
            values[:, column] = angle(points[0] - points[1], points[2] - points[1])
        else:
            values[:, column] = dihedral(*points)
    return values


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # arctan2 keeps its precision near 0 and pi, where arccos loses half the digits.
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1))


def dihedral(p0: np.ndarray, p1: np.ndarray, p2: np.ndarray, p3: np.ndarray) -> np.ndarray:
    b1, b2, b3 = p1 - p0, p2 - p1, p3 - p2
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return np.arctan2(np.linalg.norm(b2, axis=1) * np.sum(b1 * n2, axis=1), np.sum(n1 * n2, axis=1))


def w1_per_term(
    model: np.ndarray,
    reference: np.ndarray,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the Wasserstein-1 distance of every term, (k,), from (n, k) and (m, k) values."""
    # A few columns at a time: the merged quantiles of all at once would be large.
    columns = np.arange(model.shape[1])
    parts = np.array_split(columns, -(-len(columns) // 16))
    weights = model_weights, reference_weights
    return np.concatenate(
        [wasserstein_1d(model[:, k], reference[:, k], 1, *weights) for k in parts]
    )


def sd_ratio(
    model: np.ndarray,
    reference: np.ndarray,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the standard deviation of the model over that of the reference, (k,).

    Below 1 means that thermal fluctuation was lost. NaN where the reference does not fluctuate
    (a constrained bond).
    """
    width = weighting.sd(reference, reference_weights)
    fluctuates = width > 1e-6
    own = weighting.sd(model, model_weights)
    return np.where(fluctuates, own / np.where(fluctuates, width, 1.0), np.nan)


def term_table(
    term_list: list[Term],
    model: np.ndarray,
    reference: np.ndarray,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> list[dict[str, object]]:
    """Return one row per term: means, standard deviations, W1 and their ratio (nm and rad)."""
    weights = model_weights, reference_weights
    w1, ratio = w1_per_term(model, reference, *weights), sd_ratio(model, reference, *weights)
    sides = (model, reference)
    means = [[float(weighting.mean(x[:, i], w)) for i in range(len(term_list))]
             for x, w in zip(sides, weights, strict=True)]  # fmt: skip
    sds = [[float(weighting.sd(x[:, i], w)) for i in range(len(term_list))]
           for x, w in zip(sides, weights, strict=True)]  # fmt: skip
    return [
        {
            "kind": term.kind,
            "atoms": list(term.atoms),
            "name": term.name,
            "unit": "nm" if term.kind == "bond" else "rad",
            "mean_model": means[0][i],
            "mean_reference": means[1][i],
            "sd_model": sds[0][i],
            "sd_reference": sds[1][i],
            "w1": float(w1[i]),
            "sd_ratio": None if np.isnan(ratio[i]) else float(ratio[i]),
        }
        for i, term in enumerate(term_list)
    ]
