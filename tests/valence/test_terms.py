"""Internal coordinates of small molecules, counted by hand."""

from itertools import permutations

import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.valence.terms import valence_terms

KINDS = ("bonds", "angles", "straight", "torsions", "pairs")


def counted(numbers, bonds, positions=None):
    """Return how many terms and how many classes there are of each kind."""
    if positions is None:
        positions = np.random.default_rng(0).standard_normal((1, len(numbers), 3))
    terms = valence_terms(numbers, bonds, positions)
    return {kind: (len(getattr(terms, kind)), len(set(terms.alike[kind]))) for kind in KINDS}


ETHANE = [6, 6] + [1] * 6, [(0, 1)] + [(0, k) for k in (2, 3, 4)] + [(1, k) for k in (5, 6, 7)]


def test_hydrogens_of_methyl_groups_are_alike():
    found = counted(*ETHANE)
    assert found["bonds"] == (7, 2) and found["angles"] == (12, 2)
    assert found["torsions"] == (9, 1) and found["straight"] == (0, 0)
    methane = counted([6, 1, 1, 1, 1], [(0, k) for k in range(1, 5)])
    assert methane["bonds"] == (4, 1) and methane["angles"] == (6, 1)
    # Two bonds share the carbon, a bond is part of an angle, two angles share an arm.
    assert methane["pairs"] == (6 + 12 + 12, 3)


def test_a_ring_and_its_planar_centres():
    carbons = [(k, (k + 1) % 6) for k in range(6)]
    benzene = counted([6] * 6 + [1] * 6, carbons + [(k, k + 6) for k in range(6)])
    assert benzene["bonds"] == (12, 2) and benzene["angles"] == (18, 2)
    # Four propers about each C-C bond, three impropers about each carbon.
    assert benzene["torsions"] == (6 * 4 + 6 * 3, 3 + 2)


def test_small_rings_have_no_torsion_into_themselves():
    cyclopropane = [(0, 1), (1, 2), (0, 2)] + [(k // 2, k + 3) for k in range(6)]
    positions = np.random.default_rng(0).random((1, 9, 3))
    terms = valence_terms([6] * 3 + [1] * 6, cyclopropane, positions)
    assert all(len(set(four)) == 4 for four in terms.torsions)


def test_formaldehyde_has_impropers_alone():
    found = counted([6, 8, 1, 1], [(0, 1), (0, 2), (0, 3)])
    assert found["torsions"] == (3, 2)


def test_what_is_alike_does_not_hang_on_the_order_of_atoms():
    numbers, bonds = [7, 6, 8, 1, 1, 1], [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5)]  # formamide
    positions = np.random.default_rng(0).standard_normal((6, 3))
    found = set()
    for order in permutations(range(6)):
        place = np.argsort(order)
        moved = [(int(place[i]), int(place[j])) for i, j in bonds]
        terms = counted([numbers[k] for k in order], moved, positions[None, list(order)])
        found.add(tuple(terms.items()))
    # Propers O or H with either hydrogen; impropers at N about C and about both hydrogens alike,
    # and three at C.
    assert len(found) == 1 and dict(found.pop())["torsions"] == (4 + 6, 2 + 2 + 3)


@pytest.mark.parametrize("turned", [False, True])
def test_straight_angles_and_no_torsion_over_them(turned):
    propyne = np.array([[0.0, 0, 0], [0.146, 0, 0], [0.266, 0, 0], [0.372, 0, 0]] + [
        [-0.04, 0.1 * np.cos(a), 0.1 * np.sin(a)] for a in (0.0, 2.1, 4.2)
    ])  # fmt: skip
    if turned:
        propyne = propyne[:, [2, 0, 1]]
    bonds = [(0, 1), (1, 2), (2, 3), (0, 4), (0, 5), (0, 6)]
    terms = valence_terms([6, 6, 6, 1, 1, 1, 1], bonds, propyne[None])
    assert terms.straight == ((0, 1, 2), (1, 2, 3)) and terms.torsions == ()
    assert len(terms.angles) == 6


def test_two_atoms_have_a_bond_and_nothing_else():
    assert counted([1, 17], [(0, 1)]) == dict.fromkeys(KINDS, (0, 0)) | {"bonds": (1, 1)}


def test_bonds_are_taken_once_and_any_way_round():
    assert counted([8, 1, 1], [(0, 1), (1, 0), (2, 0)])["bonds"] == (2, 1)


def test_what_cannot_be_is_a_sentence():
    with pytest.raises(MolflowError, match="has no bonds, .* CONECT"):
        counted([2, 2], [])
    for bonds in ([(0, 0)], [(0, 3)], [(-1, 0)]):
        with pytest.raises(MolflowError, match="and there are 3 atoms: name two"):
            counted([8, 1, 1], bonds)
