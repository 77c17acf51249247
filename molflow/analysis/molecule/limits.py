"""Limits of sound molecules: of bonds, angles, planes and rings, set by reference MD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mdtraj
import numpy as np
from scipy.sparse import csr_matrix, identity
from scipy.spatial import cKDTree

from molflow.analysis.molecule.geometry import Term, dihedral, measure, terms
from molflow.analysis.molecule.graph import rings
from molflow.analysis.molecule.ring_shape import LARGEST_RING, flatness
from molflow.analysis.molecule.stereo import handedness
from molflow.analysis.molecule.stiff_bonds import stiff_torsions

#: Largest deviation of a bond from its reference mean, nm.
BOND_TOLERANCE = 0.05
#: Smallest distance of a non-bonded pair, nm, unless pairs of the reference come closer.
CLASH_DISTANCE = 0.1
#: Pairs with at least this many bonds between them count as non-bonded: 1-2, 1-3 and 1-4 pairs
#: are held by the bonded terms and are judged there.
NONBONDED_SEPARATION = 4
#: An improper belongs to a planar centre if the reference's mean is this near to 0, rad.
_PLANAR = 0.2
#: Of the smallest distance of a pair in the reference, what is no clash yet.
_CLOSER = 0.9
#: Atoms, over samples, that are searched for near ones at once.
_POINTS = 1_000_000


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
    bonded : ndarray, (k,) int
        Pairs of atoms fewer than `NONBONDED_SEPARATION` bonds apart, which do not clash: the first
        atom times the number of atoms plus the second, increasing.
    close : ndarray, (k,) int
        Pairs that come closer than `CLASH_DISTANCE` in the reference, likewise.
    close_distance : ndarray, (k,)
        Their smallest distance that is no clash, nm; that of all others is `CLASH_DISTANCE`.
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
    bonded: np.ndarray
    close: np.ndarray
    close_distance: np.ndarray
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


def bonded_pairs(topology: mdtraj.Topology) -> np.ndarray:
    """Return the pairs of atoms held by bonds, (k,) int, as `Limits.bonded` has them."""
    n = topology.n_atoms
    bonds = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    once = csr_matrix((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    step: Any = (once + once.T + identity(n, format="csr")).astype(bool).astype(np.int32)
    reached = step
    for _ in range(NONBONDED_SEPARATION - 2):
        reached = (reached @ step).astype(bool).astype(np.int32)
    first, second = reached.nonzero()
    return np.sort((first * n + second)[first < second])


def near_pairs(
    positions: np.ndarray, distance: float, bonded: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield pairs of atoms that are near each other and not held by bonds.

    Time and memory grow with the atoms and the pairs found, not with all pairs.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        Finite, nm.
    distance : float
        nm, up to which pairs are near.
    bonded : ndarray
        See `Limits.bonded`.

    Yields
    ------
    sample : ndarray, (k,) int
    pair : ndarray, (k,) int
        As in `Limits.bonded`.
    apart : ndarray, (k,)
        nm.
    """
    n_atoms = positions.shape[1]
    at_once = max(1, _POINTS // n_atoms)
    for begin in range(0, len(positions), at_once):
        part = positions[begin : begin + at_once].astype(np.float64)
        # In a fourth direction samples are further from each other than is near.
        sample = np.repeat(2.0 * distance * np.arange(len(part)), n_atoms)
        points = np.column_stack([part.reshape(-1, 3), sample])
        found = cKDTree(points).query_pairs(distance, output_type="ndarray")
        first, second = found.min(axis=1), found.max(axis=1)
        pair = (first % n_atoms) * n_atoms + second % n_atoms
        free = ~np.isin(pair, bonded)
        first, second, pair = first[free], second[free], pair[free]
        apart = np.linalg.norm(points[first, :3] - points[second, :3], axis=1)
        yield begin + first // n_atoms, pair, apart


def _close(positions: np.ndarray, bonded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `Limits.close` and `Limits.close_distance` that a reference sets."""
    found = [part[1:] for part in near_pairs(positions, CLASH_DISTANCE / _CLOSER, bonded)]
    pairs, apart = (np.concatenate(kind) for kind in zip(*found, strict=True))
    close, place = np.unique(pairs, return_inverse=True)
    smallest = np.full(len(close), np.inf)
    np.minimum.at(smallest, place, _CLOSER * apart)
    return close, np.minimum(CLASH_DISTANCE, smallest)


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
        From `molflow.analysis.molecule.stereo.stereocentres`, in the indices of these atoms. The
        right hand is that of the majority.
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
    bonded = bonded_pairs(topology)
    close, close_distance = _close(positions, bonded)
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
        bonded=bonded,
        close=close,
        close_distance=close_distance,
        rings=small,
        ring_range=widened(np.stack(flat, axis=1), 0.001) if flat else np.zeros((0, 2)),
        centres=centres,
        right=right,
    )
