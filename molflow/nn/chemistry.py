"""What a network that speaks of many molecules has seen of chemistry, kept with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molflow.nn.bond_orders import bond_orders
from molflow.nn.graph import MolecularGraph
from molflow.nn.neighbourhoods import APART, furthest, neighbourhoods, pair_names

#: Largest radius of the surroundings that are counted, in bonds.
RADIUS = 3


_UP_TO = ("the kind", *(
    f"the surroundings up to {k} bond{'s' * (k > 1)}" for k in range(1, RADIUS + 1)
))  # fmt: skip


@dataclass(frozen=True)
class Chemistry:
    """Residues, surroundings and distances between atoms in the molecules of a training.

    Attributes
    ----------
    unit : float
        nm: the length that is 1 for the network, in all its molecules.
    elements : frozenset of int
    residues : frozenset of str
        Atomic numbers, and names of residues.
    surroundings : tuple of frozenset of str
        Names of those of atoms, for each radius up to `RADIUS`; see `neighbourhoods`.
    bonds : frozenset of str
        Bonds by their order and by element, charge and number of bonds of their ends.
    distances : dict of str to (float, float)
        Mean and standard deviation of the distance of pairs by each of their names, see
        `pair_names`; in units of `unit`. Pairs of one name count alike, in whatever molecule.
    """

    unit: float
    elements: frozenset[int]
    residues: frozenset[str]
    surroundings: tuple[frozenset[str], ...]
    bonds: frozenset[str]
    distances: dict[str, tuple[float, float]]

    @classmethod
    def of(
        cls,
        graphs: Sequence[MolecularGraph],
        unit: float,
        statistics: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> Chemistry:
        """Gather what molecules show.

        Parameters
        ----------
        graphs : sequence of MolecularGraph
        unit : float
            nm.
        statistics : sequence of (mean, sd)
            Of the distances of all atoms of each molecule in its data, each (atoms, atoms), nm.
        """
        gathered: dict[str, list[tuple[float, float]]] = {}
        bonds: set[str] = set()
        for graph, (mean, sd) in zip(graphs, statistics, strict=True):
            for pair, names in pair_names(graph).items():
                for name in names:
                    gathered.setdefault(name, []).append((mean[pair] / unit, sd[pair] / unit))
            bonds.update(_bonds(graph))
        distances = {}
        for name, rows in gathered.items():
            means, deviations = np.array(rows).T
            spread = np.mean(deviations**2 + means**2) - means.mean() ** 2
            distances[name] = round(float(means.mean()), 6), round(float(np.sqrt(spread)), 6)
        seen = [neighbourhoods(graph, RADIUS) for graph in graphs]
        return cls(
            unit,
            frozenset(element for graph in graphs for element in graph.elements),
            frozenset(name for graph in graphs for name in graph.residues),
            tuple(
                frozenset(name for one in seen for name in one[radius])
                for radius in range(RADIUS + 1)
            ),
            frozenset(bonds),
            distances,
        )

    def statistics(self, graph: MolecularGraph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean and standard deviation of all distances, and what they are worth.

        Returns
        -------
        mean, sd : ndarray, (atoms, atoms)
            Of the most particular name that is known. Of pairs further apart than any known one,
            the mean grows as the root of the number of bonds from the furthest that is.
        known : ndarray of bool, (atoms, atoms)
            False for pairs of which no name is known.
        """
        n = graph.n_atoms
        mean, known = np.zeros((n, n)), np.eye(n, dtype=bool)
        # On the diagonal a width that noise of the last step drowns.
        sd = np.full((n, n), 1e-3)
        last = furthest(self.distances)
        for (i, j), names in pair_names(graph).items():
            name = next((name for name in names if name in self.distances), None)
            row = self._beyond(names[-1], last) if name is None else self.distances[name]
            mean[i, j], sd[i, j] = row[0], max(row[1], 1e-3)
            mean[j, i], sd[j, i] = mean[i, j], sd[i, j]
            known[i, j] = known[j, i] = name is not None
        return mean, sd, known

    def _beyond(self, name: str, last: int) -> tuple[float, float]:
        mean, sd = self.distances.get(f"{last}{APART}", (0.0, 0.0))
        return mean * (furthest([name]) / max(last, 1)) ** 0.5, sd

    def spread(self, graph: MolecularGraph) -> float:
        """Return the standard deviation of the centred coordinates, in units of `unit`.

        Of all distances together: Σ_ij <d²> = 2 n Σ_i <r²>. Exact for a molecule of whose pairs
        all are of one kind each, an estimate that needs no data for any other.
        """
        mean, sd, _ = self.statistics(graph)
        np.fill_diagonal(sd, 0.0)
        squares = float((mean**2 + sd**2).sum()) / (2.0 * graph.n_atoms**2)
        return float(np.sqrt(squares / 3.0))

    def new_in(self, graph: MolecularGraph) -> Novelty:
        """Return what of a molecule has not been seen."""
        names = neighbourhoods(graph, RADIUS)
        atoms = range(graph.n_atoms)
        return Novelty(
            graph.n_atoms,
            elements=tuple(sorted(set(graph.elements) - self.elements)),
            residues=tuple(sorted(set(graph.residues) - self.residues)),
            bonds=tuple(
                pair
                for pair, name in zip(graph.bonds, _bonds(graph), strict=True)
                if name not in self.bonds
            ),
            surroundings=tuple(
                tuple(atom for atom in atoms if names[radius][atom] not in seen)
                for radius, seen in enumerate(self.surroundings)
            ),
        )

    def to_dict(self) -> dict:
        """Return a JSON-ready description."""
        return {
            "unit_nm": self.unit,
            "elements": sorted(self.elements),
            "residues": sorted(self.residues),
            "surroundings": [sorted(names) for names in self.surroundings],
            "bonds": sorted(self.bonds),
            "distances": {name: list(self.distances[name]) for name in sorted(self.distances)},
        }

    @classmethod
    def from_dict(cls, data: dict) -> Chemistry:
        """Invert `to_dict`."""
        return cls(
            float(data["unit_nm"]),
            frozenset(data["elements"]),
            frozenset(data["residues"]),
            tuple(frozenset(names) for names in data["surroundings"]),
            frozenset(data["bonds"]),
            {name: (float(mean), float(sd)) for name, (mean, sd) in data["distances"].items()},
        )


def _bonds(graph: MolecularGraph) -> list[str]:
    """Return the names of all bonds."""
    (kinds,), (orders, _) = neighbourhoods(graph, 0), bond_orders(graph)
    return [
        "|".join((f"{order:g}", *sorted((kinds[i], kinds[j]))))
        for (i, j), order in zip(graph.bonds, orders, strict=True)
    ]


@dataclass(frozen=True)
class Novelty:
    """How far a molecule is from those that a network has seen.

    Attributes
    ----------
    n_atoms : int
    elements, residues : tuple
        Atomic numbers and names that no molecule had.
    bonds : tuple of (int, int)
        Bonds that are unlike all that there were.
    surroundings : tuple of tuple of int
        For each radius the atoms whose surroundings up to so many bonds no atom had.
    """

    n_atoms: int
    elements: tuple[int, ...]
    residues: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    surroundings: tuple[tuple[int, ...], ...]

    def counts(self) -> dict:
        """Return how many there are of each, for a record."""
        return {
            "atoms": self.n_atoms,
            "new_elements": len(self.elements),
            "new_residues": list(self.residues),
            "new_bonds": len(self.bonds),
            "new_surroundings": [len(atoms) for atoms in self.surroundings],
        }

    def sentence(self, graph: MolecularGraph) -> str:
        """Say it of the molecule, with the names of its atoms."""
        parts = []
        if self.elements:
            parts.append(f"elements {', '.join(map(str, self.elements))} (atomic numbers)")
        if self.bonds:
            named = [f"{graph.names[i]}–{graph.names[j]}" for i, j in self.bonds]
            parts.append(f"{len(named)} of {len(graph.bonds)} bonds ({_some(named)})")
        shown: set[int] = set()
        for radius, atoms in enumerate(self.surroundings):
            fresh = [graph.names[atom] for atom in atoms if atom not in shown]
            shown.update(atoms)
            if atoms:
                what = _UP_TO[radius]
                parts.append(
                    f"{what} of {len(atoms)} of its {self.n_atoms} atoms"
                    + (f" ({_some(fresh)})" if fresh else "")
                )
        if self.residues:
            parts.append(f"the residue names {', '.join(self.residues)}")
        if not parts:
            return f"all its bonds, and {_UP_TO[-1]} of all its atoms, were there"
        return "new are " + ", ".join(parts)


def _some(names: list[str], most: int = 6) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
