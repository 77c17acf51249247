"""The internal coordinates of a molecule, and which of them are alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from molflow.colours import refined
from molflow.errors import MolflowError

#: Angles that come so close to 180° are straight: their bend has no direction.
STRAIGHT_FROM = np.deg2rad(170.0)


@dataclass(frozen=True)
class ValenceTerms:
    """Internal coordinates by their atoms, and pairs of them.

    Attributes
    ----------
    bonds, angles, straight, torsions : tuple of tuple of int
        i-j; i-j-k about j, those that are straight by themselves; i-j-k-l about j-k, impropers
        (i and l at the same end, j) among them.
    pairs : tuple of (int, int)
        Coordinates that are coupled, numbered through bonds and then angles: bonds that share an
        atom, bonds with the angles that they are part of, angles that share two atoms.
    alike : dict of str to tuple of int
        For each kind the class of every term: terms that a symmetry of the bond graph exchanges
        are in one class.
    """

    bonds: tuple[tuple[int, ...], ...]
    angles: tuple[tuple[int, ...], ...]
    straight: tuple[tuple[int, ...], ...]
    torsions: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    alike: dict[str, tuple[int, ...]]


def valence_terms(
    numbers: Sequence[int], bonds: Sequence[tuple[int, int]], positions: np.ndarray
) -> ValenceTerms:
    """Return the internal coordinates of a molecule.

    All bonds and angles; torsions about all bonds, and about the bonds of atoms with three
    neighbours, which planar centres need (impropers). A torsion of which an angle is straight has
    no direction and is left away.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers.
    bonds : sequence of (int, int)
    positions : array, (frames, atoms, 3)
        Where the molecule is met: it tells which angles are straight.

    Raises
    ------
    MolflowError
        If there is no bond, or one names an atom that is not there or twice the same.
    """
    bonds = sorted({(min(pair), max(pair)) for pair in bonds})
    if not bonds:
        raise MolflowError(
            "the molecule has no bonds, and a valence formula is made of them: give a structure "
            "that names them, as CONECT records of a PDB file do."
        )
    if not all(0 <= i < j < len(numbers) for i, j in bonds):
        raise MolflowError(
            f"the bonds are {bonds[:5]} ..., and there are {len(numbers)} atoms: name two of them "
            "in each."
        )
    around: list[list[int]] = [[] for _ in numbers]
    for i, j in bonds:
        around[i].append(j)
        around[j].append(i)
    around = [sorted(row) for row in around]
    all_angles = [(i, j, k) for j, row in enumerate(around) for i, k in combinations(row, 2)]
    wide = _largest(np.asarray(positions, np.float64), all_angles) > STRAIGHT_FROM
    angles = [three for three, is_wide in zip(all_angles, wide, strict=True) if not is_wide]
    straight = [three for three, is_wide in zip(all_angles, wide, strict=True) if is_wide]
    torsions = [
        four for four in (*_propers(bonds, around), *_impropers(around))
        if not {_sorted(four[:3]), _sorted(four[1:])} & set(straight)
    ]  # fmt: skip
    pairs = _pairs(bonds, angles)
    colours = refined(list(numbers), around)
    keys: dict[str, list[Any]] = {
        "bonds": [_key(colours, two) for two in bonds],
        "angles": [_key(colours, three) for three in angles],
        "straight": [_key(colours, three) for three in straight],
        "torsions": [_torsion_key(colours, around, four) for four in torsions],
    }
    atoms = [*bonds, *angles]
    single = [*keys["bonds"], *keys["angles"]]
    keys["pairs"] = [_pair_key(colours, atoms, single, pair) for pair in pairs]
    alike = {kind: _numbered(found) for kind, found in keys.items()}
    return ValenceTerms(
        tuple(bonds), tuple(angles), tuple(straight), tuple(torsions), tuple(pairs), alike
    )


def _largest(positions: np.ndarray, angles: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return the largest value of every angle, radians."""
    i, j, k = np.array(angles, int).reshape(-1, 3).T
    a, b = positions[:, i] - positions[:, j], positions[:, k] - positions[:, j]
    sine = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.arctan2(sine, np.sum(a * b, axis=-1)).max(axis=0, initial=0.0)


def _propers(bonds, around):
    for j, k in bonds:
        for i in around[j]:
            for l in around[k]:  # noqa: E741
                if len({i, j, k, l}) == 4:
                    yield i, j, k, l


def _impropers(around):
    for j, row in enumerate(around):
        if len(row) == 3:
            for k in row:
                i, l = (other for other in row if other != k)  # noqa: E741
                yield i, j, k, l


def _pairs(bonds, angles) -> list[tuple[int, int]]:
    coordinates = [*map(set, bonds), *map(set, angles)]
    found = []
    for a, b in combinations(range(len(coordinates)), 2):
        shared = len(coordinates[a] & coordinates[b])
        if shared >= (1 if b < len(bonds) else 2):
            found.append((a, b))
    return found


def _sorted(three: tuple[int, ...]) -> tuple[int, ...]:
    return three if three[0] < three[-1] else three[::-1]


def _key(colours: list[int], atoms: tuple[int, ...]) -> tuple[int, ...]:
    seen = tuple(colours[atom] for atom in atoms)
    return min(seen, seen[::-1])


def _torsion_key(colours: list[int], around, four: tuple[int, ...]) -> tuple:
    i, j, k, l = four  # noqa: E741
    if l not in around[j]:
        return (False, *_key(colours, four))
    # The cosine of an improper does not change when i and l, both at j, change places.
    return (True, colours[j], colours[k], *sorted((colours[i], colours[l])))


def _pair_key(colours, atoms, single, pair) -> Hashable:
    a, b = pair
    common = tuple(sorted(colours[atom] for atom in set(atoms[a]) & set(atoms[b])))
    kinds = tuple(sorted((len(atoms[n]), single[n]) for n in pair))
    # Angles at the same atom are not coupled as those at the two ends of a bond are.
    concentric = len(atoms[a]) == len(atoms[b]) == 3 and atoms[a][1] == atoms[b][1]
    return kinds, common, concentric


def _numbered(keys: Sequence[Hashable]) -> tuple[int, ...]:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return tuple(numbers[key] for key in keys)
