"""What a network knows of a molecule: elements, bonds, residues and identities of its atoms."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from molflow.errors import MolflowError

#: Bond-graph distances at or above this one share an embedding ("not connected" included).
MAX_GRAPH_DISTANCE = 6
#: Triple product of unit vectors above which an atom is no plane with its neighbours: 0.77 for a
#: tetrahedron.
_PYRAMID = 0.4


def handed(hand: int, order: Sequence) -> int:
    """Return the hand of an atom whose neighbours stand in another order than a sorted one."""
    swaps = sum(a > b for k, a in enumerate(order) for b in order[k + 1 :])
    return hand * (-1) ** swaps


@dataclass(frozen=True)
class MolecularGraph:
    """A molecule without coordinates.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers.
    residues : tuple of str
        Residue name of each atom.
    names : tuple of str
        Atom names; with residue index they identify atoms in messages and checks.
    bonds : tuple of (int, int)
        Pairs of atom indices.
    hands : tuple of int
        For each atom the sign of the triple product of the vectors to its first three neighbours in
        the order of their indices, 0 where it has no lasting hand; empty if nobody looked. Graphs
        are equal whatever their hands: most networks learn these from the data.
    """

    elements: tuple[int, ...]
    residues: tuple[str, ...]
    names: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    hands: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self):
        n = len(self.elements)
        if not n or len(self.residues) != n or len(self.names) != n:
            raise MolflowError(
                f"a molecular graph needs one element, residue and name per atom, and got "
                f"{n}, {len(self.residues)} and {len(self.names)}."
            )
        if any(not (0 <= i < n and 0 <= j < n and i != j) for i, j in self.bonds):
            raise MolflowError(f"a bond of the molecular graph points outside its {n} atoms.")

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.elements)

    @classmethod
    def from_topology(cls, topology, positions: np.ndarray | None = None) -> MolecularGraph:
        """Read an `mdtraj.Topology`, and the hands from positions, (atoms, 3)."""
        atoms = list(topology.atoms)
        graph = cls(
            elements=tuple(atom.element.number if atom.element else 0 for atom in atoms),
            residues=tuple(atom.residue.name for atom in atoms),
            names=tuple(
                f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}" for atom in atoms
            ),
            bonds=tuple(
                sorted((min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds)
            ),
        )
        return graph if positions is None else graph.seen_in(positions)

    def seen_in(self, positions: np.ndarray) -> MolecularGraph:
        """Return the graph with the hands that positions, (atoms, 3), show.

        Atoms that are no plane with their neighbours have a lasting hand, but for a nitrogen with
        three, which turns inside out.
        """
        hands = []
        for atom, around in enumerate(self.neighbours()):
            inverts = self.elements[atom] == 7 and len(around) == 3
            if len(around) < 3 or inverts:
                hands.append(0)
                continue
            arms = np.asarray(positions)[sorted(around)[:3]] - np.asarray(positions)[atom]
            volume = np.linalg.det(arms / np.linalg.norm(arms, axis=1, keepdims=True))
            hands.append(int(np.sign(volume)) if abs(volume) > _PYRAMID else 0)
        return replace(self, hands=tuple(hands))

    def to_dict(self) -> dict:
        """Return a JSON-ready description."""
        described = asdict(self)
        if not self.hands:
            del described["hands"]  # of files from before they were looked at
        return described

    @classmethod
    def from_dict(cls, data: dict) -> MolecularGraph:
        """Invert `to_dict`."""
        return cls(
            elements=tuple(data["elements"]),
            residues=tuple(data["residues"]),
            names=tuple(data["names"]),
            bonds=tuple((int(i), int(j)) for i, j in data["bonds"]),
            hands=tuple(data.get("hands", ())),
        )

    def neighbours(self) -> list[list[int]]:
        """Return the atoms bonded to each atom."""
        neighbours: list[list[int]] = [[] for _ in range(self.n_atoms)]
        for i, j in self.bonds:
            neighbours[i].append(j)
            neighbours[j].append(i)
        return neighbours

    def dihedrals(self) -> list[tuple[int, int, int, int]]:
        """Return the proper and improper dihedrals (i, j, k, l), each in all its directions.

        The planes i, j, k and j, k, l meet in the bond j-k. Atom i is bonded to j; atom l is
        bonded to k (proper: the torsion about the bond) or to j (improper: the handedness or
        planarity of j).
        """
        bonded = self.neighbours()
        return [
            (i, j, k, other)
            for j in range(self.n_atoms)
            for k in bonded[j]
            for i in bonded[j]
            for other in (*bonded[k], *bonded[j])
            if len({i, j, k, other}) == 4
        ]

    def pairs_within(self, bonds: int) -> list[tuple[int, int, int]]:
        """Return (i, j, bonds between them) for all ordered pairs up to so many bonds apart.

        Ordered by i. Time and memory grow with the number of pairs, not with that of atoms squared.
        """
        neighbours = self.neighbours()
        pairs = []
        for start in range(self.n_atoms):
            found, edge = {start: 0}, [start]
            for apart in range(1, bonds + 1):
                edge = [other for atom in edge for other in neighbours[atom] if other not in found]
                found |= dict.fromkeys(edge, apart)
            pairs += [(start, other, apart) for other, apart in sorted(found.items()) if apart]
        return pairs

    def distances(self) -> list[list[int]]:
        """Return the number of bonds between each pair of atoms, capped at `MAX_GRAPH_DISTANCE`."""
        neighbours = self.neighbours()
        table = []
        for start in range(self.n_atoms):
            row = [MAX_GRAPH_DISTANCE] * self.n_atoms
            row[start] = 0
            queue = deque([start])
            while queue:
                atom = queue.popleft()
                for other in neighbours[atom]:
                    if other != start and row[other] > row[atom] + 1:
                        row[other] = row[atom] + 1
                        queue.append(other)
            table.append(row)
        return table


def kinds_of(graph: MolecularGraph) -> list[str]:
    """Return the kind of each atom: its residue's name and its own, without the residue's place."""
    pairs = zip(graph.residues, graph.names, strict=True)
    return [f"{residue}-{name.partition('-')[2] or name}" for residue, name in pairs]
