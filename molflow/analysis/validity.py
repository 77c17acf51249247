"""Which samples are sound: finite, bonded, free of clashes, and of the right hand."""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

from molflow.analysis.geometry import neighbours

#: Largest deviation of a bond from its reference mean, nm.
BOND_TOLERANCE = 0.05
#: Smallest distance of a non-bonded pair, nm.
CLASH_DISTANCE = 0.1
#: Pairs with at least this many bonds between them count as non-bonded: 1-2, 1-3 and 1-4 pairs
#: are held by the bonded terms and are judged there.
NONBONDED_SEPARATION = 4


@dataclass(frozen=True)
class Validity:
    """Masks over the samples, each (n,) bool, True where the sample passes.

    `stereo` is None where the atoms at hand carry no stereocentre. A sample that is not finite
    fails every test.
    """

    finite: np.ndarray
    bonds: np.ndarray
    clashes: np.ndarray
    stereo: np.ndarray | None

    @property
    def valid(self) -> np.ndarray:
        """Samples that pass every test, (n,) bool."""
        passed = self.finite & self.bonds & self.clashes
        return passed if self.stereo is None else passed & self.stereo

    def counts(self) -> dict[str, int | None]:
        """Return how many samples there are, are valid, and fail each test (finite ones)."""
        return {
            "samples": len(self.finite),
            "valid": int(self.valid.sum()),
            "not_finite": int((~self.finite).sum()),
            "broken_bond": int((self.finite & ~self.bonds).sum()),
            "clash": int((self.finite & ~self.clashes).sum()),
            "wrong_hand": None
            if self.stereo is None
            else int((self.finite & ~self.stereo).sum()),
        }


def stereocentres(
    topology: mdtraj.Topology, kept: np.ndarray | None = None
) -> list[tuple[int, int, int, int]]:
    """Find carbons with four different neighbours.

    Two neighbours are different if colour refinement on the bond graph, starting from the
    elements, tells them apart (so the hydrogens of a methyl group are alike).

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, with bonds.
    kept : ndarray of int, optional
        Subset of the atoms that is at hand. It shows a hand if it keeps the centre and three
        neighbours.

    Returns
    -------
    list of (centre, a, b, c)
        The centre and its first three neighbours in the order of their indices, for the sign of
        the triple product; indices into `kept` if it is given.
    """
    table = neighbours(topology)
    colours = [atom.element.atomic_number if atom.element else 0 for atom in topology.atoms]
    for _ in range(topology.n_atoms):
        keys = [(colours[i], *sorted(colours[j] for j in table[i])) for i in range(len(table))]
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        if len(ranks) == len(set(colours)):
            break
        colours = [ranks[key] for key in keys]
    place = {int(a): i for i, a in enumerate(range(topology.n_atoms) if kept is None else kept)}
    found = []
    for atom in topology.atoms:
        around = table[atom.index]
        carbon = atom.element is not None and atom.element.symbol == "C"
        if carbon and len(around) == 4 and len({colours[j] for j in around}) == 4:
            seen = [place[j] for j in around if j in place]
            if atom.index in place and len(seen) >= 3:
                found.append((place[atom.index], *seen[:3]))
    return found


def handedness(positions: np.ndarray, centres: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Return the sign of the triple product at every stereocentre, (n, len(centres))."""
    signs = np.empty((len(positions), len(centres)))
    for column, (centre, *around) in enumerate(centres):
        a, b, c = (positions[:, i].astype(np.float64) - positions[:, centre] for i in around)
        signs[:, column] = np.sign(np.sum(a * np.cross(b, c), axis=1))
    return signs


def nonbonded_pairs(topology: mdtraj.Topology) -> np.ndarray:
    """Return pairs at least `NONBONDED_SEPARATION` bonds apart (or unconnected), (k, 2) int."""
    n = topology.n_atoms
    bonds = np.array([(a.index, b.index) for a, b in topology.bonds]).reshape(-1, 2)
    graph = csr_matrix((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    separation = shortest_path(graph, directed=False, unweighted=True)
    first, second = np.triu_indices(n, k=1)
    far = separation[first, second] >= NONBONDED_SEPARATION
    return np.stack([first[far], second[far]], axis=1)


def check_validity(
    positions: np.ndarray,
    reference_positions: np.ndarray,
    topology: mdtraj.Topology,
    centres: list[tuple[int, int, int, int]],
) -> Validity:
    """Test every sample.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm; may hold NaN.
    reference_positions : ndarray, (m, n_atoms, 3)
        nm; they set the mean bond lengths and the right hand (the sign of the majority).
    topology : mdtraj.Topology
        Of these atoms, with bonds.
    centres : list of (centre, a, b, c)
        From `stereocentres`, in the indices of these atoms.
    """
    n = len(positions)
    finite = np.isfinite(positions).all(axis=(1, 2))
    bonds, clashes = np.zeros(n, bool), np.zeros(n, bool)
    sound = positions[finite]
    table = np.array([(a.index, b.index) for a, b in topology.bonds]).reshape(-1, 2)

    def lengths(xyz: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        return np.stack([np.linalg.norm(xyz[:, a] - xyz[:, b], axis=1) for a, b in pairs], axis=1)

    bonds[finite] = True
    if len(table):
        mean = lengths(reference_positions.astype(np.float64), table).mean(axis=0)
        deviation = np.abs(lengths(sound.astype(np.float64), table) - mean)
        bonds[finite] = deviation.max(axis=1) <= BOND_TOLERANCE
    clashes[finite] = True
    for a, b in nonbonded_pairs(topology):
        distance = np.linalg.norm(sound[:, a] - sound[:, b], axis=1)
        clashes[finite] &= distance >= CLASH_DISTANCE
    stereo = None
    if centres:
        right = np.sign(handedness(reference_positions, centres).sum(axis=0))
        stereo = np.zeros(n, bool)
        stereo[finite] = (handedness(sound, centres) == right).all(axis=1)
    return Validity(finite, bonds, clashes, stereo)
