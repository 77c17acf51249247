import pytest

from molflow.errors import MolflowError
from molflow.nn.graph import MAX_GRAPH_DISTANCE, MolecularGraph
from molflow.systems import load_system


def chain(n, bonds=None):
    bonds = tuple((i, i + 1) for i in range(n - 1)) if bonds is None else bonds
    return MolecularGraph((6,) * n, ("X",) * n, tuple(f"X1-C{i}" for i in range(n)), bonds)


def test_distances_count_bonds_up_to_the_cap():
    table = chain(9).distances()
    for i in range(9):
        assert table[i] == [min(abs(i - j), MAX_GRAPH_DISTANCE) for j in range(9)]


def test_distances_take_the_shortest_way_round_a_ring_and_cap_what_is_apart():
    ring = tuple((i, (i + 1) % 5) for i in range(5))
    table = chain(6, ring).distances()
    assert table[0] == [0, 1, 2, 2, 1, MAX_GRAPH_DISTANCE]
    assert table[5] == [MAX_GRAPH_DISTANCE] * 5 + [0]


@pytest.mark.parametrize("graph", [chain(9), chain(6, ((0, 1), (1, 2), (2, 0), (3, 4)))])
def test_near_pairs_are_those_of_the_table(graph):
    table = graph.distances()
    near = [(i, j, d) for i, row in enumerate(table) for j, d in enumerate(row) if 0 < d <= 3]
    assert graph.pairs_within(3) == near and len(near) > 5


def test_from_topology_of_alanine_dipeptide():
    graph = MolecularGraph.from_topology(load_system("alanine_dipeptide").topology())
    assert graph.n_atoms == 22 and len(graph.bonds) == 21
    assert sorted(graph.elements) == [1] * 12 + [6] * 6 + [7] * 2 + [8] * 2
    assert graph.residues[8] == "ALA" and graph.names[8] == "ALA2-CA"
    # The torsion phi runs along bonds.
    for pair in ((4, 6), (6, 8), (8, 14)):
        assert pair in graph.bonds
    assert graph.distances()[4][14] == 3


def test_dictionary_round_trip():
    graph = chain(4)
    assert MolecularGraph.from_dict(graph.to_dict()) == graph


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((), (), (), ()), "needs one element, residue and name per atom, and got 0, 0 and 0"),
        (((6, 6), ("X",), ("a", "b"), ()), "got 2, 1 and 2"),
        (((6, 6), ("X", "X"), ("a", "b"), ((0, 2),)), "points outside its 2 atoms"),
        (((6, 6), ("X", "X"), ("a", "b"), ((1, 1),)), "points outside its 2 atoms"),
    ],
)
def test_impossible_graphs_are_refused(arguments, sentence):
    with pytest.raises(MolflowError, match=sentence):
        MolecularGraph(*arguments)
