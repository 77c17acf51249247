"""Limits of sound molecules: of bonds, angles, planes and rings, set by reference MD."""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

from molflow.analysis.geometry import Term, dihedral, measure, terms
from molflow.analysis.graph import rings
from molflow.analysis.ring_shape import LARGEST_RING, flatness
from molflow.analysis.stereo import handedness
from molflow.analysis.stiff_bonds import stiff_torsions

#: Largest deviation of a bond from its reference mean, nm.
BOND_TOLERANCE = 0.05
#: Smallest distance of a non-bonded pair, nm, unless pairs of the reference come closer.
CLASH_DISTANCE = 0.1
#: Pairs with at least this many bonds between them count as non-bonded: 1-2, 1-3 and 1-4 pairs
#: are held by the bonded terms and are judged there.
NONBONDED_SEPARATION = 4
#: An improper belongs to a planar centre if the reference's mean is this near to 0, rad.
_PLANAR = 0.2
#: Distances of non-bonded pairs of the reference that are looked at.
_DISTANCES = 200_000_000


@dataclass(frozen=True)
class Limits:
    """Limits for a set of atoms; each list of terms has one entry per limit.

    Attributes
    ----------
    labels : list of str
        Name of every atom, for people.
    bonds, angles, impropers : list of Term
        Impropers of planar centres only.
    bond_mean : ndarray, (bonds,)
        nm; a bond may deviate by `BOND_TOLERANCE`.
    angle_range, improper_range : ndarray, (k, 2)
        rad: the range of the reference, widened at either end by half its width or four standard
        deviations, whichever is more.
    stiff : list of tuple of int
        Torsions about amide and double bonds; peptide bonds are among them.
    stiff_mean, stiff_range : ndarray, (k,) and (k, 2)
        Circular mean and the widened range of the deviation from it, rad.
    stiff_period : ndarray, (k,)
        rad; pi where the reference has cis and trans, so that both count as planar, else 2 pi.
    pairs : ndarray, (k, 2) int
        Non-bonded pairs.
    pair_distance : ndarray, (k,)
        Smallest distance that is no clash, nm.
    rings : list of tuple of int
    ring_range : ndarray, (k, 2)
        Of the root mean square distance from the best plane, nm.
    centres : list of tuple of int
        Stereocentres, each with three neighbours.
    right : ndarray, (k,)
        Sign of the triple product of the right hand.
    """

    labels: list[str]
    bonds: list[Term]
    bond_mean: np.ndarray
    angles: list[Term]
    angle_range: np.ndarray
    impropers: list[Term]
    improper_range: np.ndarray
    stiff: list[tuple[int, int, int, int]]
    stiff_mean: np.ndarray
    stiff_range: np.ndarray
    stiff_period: np.ndarray
    pairs: np.ndarray
    pair_distance: np.ndarray
    rings: list[tuple[int, ...]]
    ring_range: np.ndarray
    centres: list[tuple[int, int, int, int]]
    right: np.ndarray


def widened(values: np.ndarray, least: float) -> np.ndarray:
    """Return the range of each column of (m, k) values, widened; (k, 2).

    By half its width or four standard deviations, whichever is more, and at least by `least`.
    """
    if values.shape[1] == 0:
        return np.zeros((0, 2))
    low, high = values.min(axis=0), values.max(axis=0)
    margin = np.maximum(np.maximum((high - low) / 2, 4 * values.std(axis=0)), least)
    return np.stack([low - margin, high + margin], axis=1)


def nonbonded_pairs(topology: mdtraj.Topology) -> np.ndarray:
    """Return pairs at least `NONBONDED_SEPARATION` bonds apart (or unconnected), (k, 2) int."""
    n = topology.n_atoms
    bonds = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    graph = csr_matrix((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    separation = shortest_path(graph, directed=False, unweighted=True)
    first, second = np.triu_indices(n, k=1)
    far = separation[first, second] >= NONBONDED_SEPARATION
    return np.stack([first[far], second[far]], axis=1)


def distances(positions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return distances (n, k) of pairs (k, 2) of atoms."""
    return np.linalg.norm(positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]], axis=2)


def smallest_distances(positions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the smallest distance of each pair over the samples, (k,), in bounded memory.

    Of large molecules evenly spaced samples are taken, so that the time is bounded as well.
    """
    smallest = np.full(len(pairs), np.inf)
    positions = positions[:: max(1, len(positions) * len(pairs) // _DISTANCES)]
    size = max(1, 2_000_000 // max(1, len(pairs)))
    for start in range(0, len(positions), size):
        part = distances(positions[start : start + size], pairs)
        smallest = np.minimum(smallest, part.min(axis=0))
    return smallest


def stiff_angles(positions: np.ndarray, torsions: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Return the angles of torsions (n, k), rad."""
    if not torsions:
        return np.zeros((len(positions), 0))
    points = positions.astype(np.float64)
    return np.stack([dihedral(*(points[:, i] for i in atoms)) for atoms in torsions], axis=1)


def deviation(angles: np.ndarray, mean: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Return angles less their mean, to within half a period of 0."""
    difference = angles - mean
    return difference - period * np.round(difference / period)


def limits_of(
    positions: np.ndarray,
    topology: mdtraj.Topology,
    centres: list[tuple[int, int, int, int]],
) -> Limits:
    """Return the limits that reference MD sets.

    Parameters
    ----------
    positions : ndarray, (m, n_atoms, 3)
        Of the reference, nm; the more, the better known are the limits.
    topology : mdtraj.Topology
        Of these atoms, with bonds.
    centres : list of (centre, a, b, c)
        From `molflow.analysis.stereo.stereocentres`, in the indices of these atoms. The right
        hand is that of the majority.
    """
    by_kind: dict[str, list[Term]] = {"bond": [], "angle": [], "improper": []}
    for term in terms(topology):
        by_kind[term.kind].append(term)
    impropers = measure(positions, by_kind["improper"])
    flat = np.abs(impropers.mean(axis=0)) < _PLANAR if impropers.size else np.zeros(0, bool)
    planar = np.flatnonzero(flat)
    stiff = stiff_torsions(topology)
    angles = stiff_angles(positions, stiff)
    mean = np.angle(np.exp(1j * angles).mean(axis=0)) if stiff else np.zeros(0)
    period = np.full(len(stiff), 2 * np.pi)
    both = np.abs(deviation(angles, mean, period)).max(axis=0, initial=0.0) > np.pi / 2
    mean, period = np.where(both, 0.0, mean), np.where(both, np.pi, period)
    small = [ring for ring in rings(topology) if len(ring) <= LARGEST_RING]
    flat = [flatness(positions, ring) for ring in small]
    pairs = nonbonded_pairs(topology)
    closest = 0.9 * smallest_distances(positions, pairs)
    right = np.sign(handedness(positions, centres).sum(axis=0)) if centres else np.zeros(0)
    return Limits(
        labels=[f"{atom.residue.resSeq}:{atom.name}" for atom in topology.atoms],
        bonds=by_kind["bond"],
        bond_mean=measure(positions, by_kind["bond"]).mean(axis=0),
        angles=by_kind["angle"],
        angle_range=widened(measure(positions, by_kind["angle"]), 0.05),
        impropers=[by_kind["improper"][i] for i in planar],
        improper_range=widened(impropers[:, planar], 0.05) if len(planar) else np.zeros((0, 2)),
        stiff=stiff,
        stiff_mean=mean,
        stiff_range=widened(deviation(angles, mean, period), 0.05),
        stiff_period=period,
        pairs=pairs,
        pair_distance=np.minimum(CLASH_DISTANCE, closest),
        rings=small,
        ring_range=widened(np.stack(flat, axis=1), 0.001) if flat else np.zeros((0, 2)),
        centres=centres,
        right=right,
    )
