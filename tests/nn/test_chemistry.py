"""Orders of bonds, names of surroundings, hands, and what a network has seen of molecules."""

import numpy as np
import pytest
from symmetry_suite import relabel

from molflow.nn.bond_orders import bond_orders
from molflow.nn.chemistry import Chemistry
from molflow.nn.conditions import conditions_of
from molflow.nn.graph import MolecularGraph
from molflow.nn.neighbourhoods import bonds_between, furthest, neighbourhoods, pair_names
from molflow.systems import load_system

Chem = pytest.importorskip("rdkit.Chem")
AllChem = pytest.importorskip("rdkit.Chem.AllChem")


def molecule(smiles, seed=1):
    """A graph by rdkit with its hands, and positions in nm."""
    found = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(found, randomSeed=seed) == 0
    positions = 0.1 * found.GetConformer().GetPositions()
    n, atoms = found.GetNumAtoms(), list(found.GetAtoms())
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in found.GetBonds()]
    graph = MolecularGraph(
        tuple(atom.GetAtomicNum() for atom in atoms),
        ("UNK",) * n,
        tuple(f"UNK1-{atom.GetSymbol()}{k}" for k, atom in enumerate(atoms)),
        tuple(sorted(tuple(sorted(pair)) for pair in bonds)),
    )
    return found, graph.seen_in(positions), positions


@pytest.mark.parametrize(
    "smiles",
    ["CC(=O)[O-]", "CC(=O)NC", "NC(=[NH2+])N", "c1ccccc1", "C[N+](=O)[O-]", "CS(=O)(=O)C",
     "COP(=O)([O-])OC", "C[NH3+]", "c1c[nH]cn1", "c1c[nH]c[nH+]1", "C[S-]", "[O-]c1ccccc1",
     "c1ccc2[nH]ccc2c1", "CC#N", "CC(=O)Oc1ccccc1C(=O)O", "CSSC", "C[N+](C)(C)C", "C[S+](C)C"],
)  # fmt: skip
def test_orders_and_charges_are_rdkits_spread_over_what_is_alike(smiles):
    found, graph, _ = molecule(smiles)
    orders, charges = bond_orders(graph)
    assert charges.sum() == pytest.approx(Chem.GetFormalCharge(found), abs=0.03)
    alike = list(Chem.CanonicalRankAtoms(found, breakTies=False))
    # Means over all resonance structures that rdkit writes, where these are the mirror of another.
    drawn = list(Chem.ResonanceMolSupplier(found, Chem.KEKULE_ALL)) or [found]
    expected = np.mean([[a.GetFormalCharge() for a in one.GetAtoms()] for one in drawn], axis=0)
    for rank in set(alike):
        atoms = [k for k, own in enumerate(alike) if own == rank]
        assert np.ptp(charges[atoms]) < 0.02
        drawn_apart = smiles in (
            "C[N+](=O)[O-]", "NC(=[NH2+])N", "[O-]c1ccccc1", "COP(=O)([O-])OC",
        )  # fmt: skip
        assert drawn_apart or charges[atoms].mean() == pytest.approx(
            expected[atoms].mean(), abs=0.02
        )
    valence = np.zeros(graph.n_atoms)
    for (i, j), order in zip(graph.bonds, orders, strict=True):
        valence[[i, j]] += order
    carbons = [k for k, element in enumerate(graph.elements) if element == 6]
    assert np.allclose(valence[carbons], 4.0, atol=0.05)


def test_a_hand_is_that_of_the_positions_and_goes_with_the_order_of_neighbours():
    found, graph, positions = molecule("N[C@@H](C)C(=O)O")
    mirrored = graph.seen_in(-positions)
    assert mirrored.hands == tuple(-hand for hand in graph.hands) and mirrored == graph
    centre = [k for k, atom in enumerate(found.GetAtoms()) if atom.HasProp("_CIPCode")]
    assert len(centre) == 1 and graph.hands[centre[0]] != 0
    flat = [k for k, element in enumerate(graph.elements) if element == 8]
    # The amine turns inside out, the acid is flat.
    assert graph.hands[0] == 0 and not any(graph.hands[k] for k in flat)
    order = np.random.default_rng(2).permutation(graph.n_atoms)
    assert (
        relabel(graph, order.tolist()).hands
        == relabel(graph, order.tolist()).seen_in(positions[order]).hands
    )


def test_every_dihedral_about_a_centre_is_told_its_own_hand():
    """The sign of the triple product that the positions show, whichever three of four it names."""
    _, graph, positions = molecule("N[C@@H](C)C(=O)O")
    conditions = conditions_of(graph, None)
    told = 0
    for (i, j, k, other), hand in zip(
        conditions.dihedrals.tolist(), conditions.hand.tolist(), strict=True
    ):
        if hand:
            arms = positions[[i, k, other]] - positions[j]
            assert np.sign(np.linalg.det(arms)) == hand
            told += 1
    assert told >= 2 * 24  # two centres with four neighbours, all directions
    assert float(conditions.improper.sum()) >= told


def test_surroundings_have_the_same_names_in_any_molecule_and_order():
    _, graph, positions = molecule("N[C@@H](C)C(=O)NC")
    names = neighbourhoods(graph, 3)
    order = np.random.default_rng(1).permutation(graph.n_atoms)
    other = relabel(graph, order.tolist())
    for ours, theirs in zip(names, neighbourhoods(other, 3), strict=True):
        assert [ours[k] for k in order] == theirs
    mirrored = neighbourhoods(graph.seen_in(-positions), 3)
    differ = [k for k in range(graph.n_atoms) if names[2][k] != mirrored[2][k]]
    assert differ and 1 in differ  # the centre and what is beside it
    assert neighbourhoods(graph, 3, hands=False) == neighbourhoods(
        graph.seen_in(-positions), 3, hands=False
    )
    # A methyl group is one wherever it is far from what differs.
    _, longer, _ = molecule("N[C@@H](CCCC)C(=O)NC")
    assert names[0][-1] in neighbourhoods(longer, 0)[0]


def graph_of(name):
    system = load_system(name)
    return MolecularGraph.from_topology(system.topology(), system.start_positions()), system


def chemistry(names, frames=200, seed=0):
    """Of jittered copies of structures, with the positions."""
    rng, graphs, statistics, clouds = np.random.default_rng(seed), [], [], []
    for name in names:
        graph, system = graph_of(name)
        x = system.start_positions() + 0.01 * rng.standard_normal((frames, graph.n_atoms, 3))
        clouds.append(x - x.mean(1, keepdims=True))
        distances = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
        statistics.append((distances.mean(0), distances.std(0)))
        graphs.append(graph)
    return Chemistry.of(graphs, 0.2, statistics), graphs, statistics, clouds


def test_distances_of_a_pair_are_those_of_all_pairs_that_have_its_name():
    made, graphs, statistics, _ = chemistry(["alanine_dipeptide", "proline_dipeptide"])
    mean, sd, known = made.statistics(graphs[0])
    assert known.all() and np.allclose(mean, mean.T) and np.allclose(np.diag(mean), 0.0)
    wanted = {}
    for graph, (means, widths) in zip(graphs, statistics, strict=True):
        for pair, names in pair_names(graph).items():
            wanted.setdefault(names[0], []).append((means[pair], widths[pair]))
    for pair, names in pair_names(graphs[0]).items():
        first, second = np.array(wanted[names[0]]).T / 0.2
        together = np.sqrt(np.mean(second**2 + first**2) - first.mean() ** 2)
        assert mean[pair] == pytest.approx(first.mean(), abs=2e-6)
        assert sd[pair] == pytest.approx(max(together, 1e-3), abs=2e-5)


def test_the_spread_is_that_of_the_positions_where_every_pair_has_a_name_of_its_own():
    """Σ_ij <d²> = 2n Σ_i <r²>, by the positions themselves."""
    chain = MolecularGraph(
        (1, 6, 7, 8, 9), ("UNK",) * 5, tuple("HCNOF"), tuple((k, k + 1) for k in range(4))
    )
    x = np.random.default_rng(0).standard_normal((500, 5, 3)) * np.array([0.3, 1.0, 2.0])
    distances = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    made = Chemistry.of([chain], 2.0, [(distances.mean(0), distances.std(0))])
    exact = np.sqrt(np.mean((x - x.mean(1, keepdims=True)) ** 2))
    assert made.spread(chain) == pytest.approx(exact / 2.0, rel=1e-5)
    # Names that several pairs share change little: 22 atoms, many of them alike.
    pooled, [graph], _, [cloud] = chemistry(["alanine_dipeptide"])
    assert 0.2 * pooled.spread(graph) == pytest.approx(np.sqrt(np.mean(cloud**2)), rel=0.02)


def test_what_is_new_is_counted_and_named():
    made, graphs, _, _ = chemistry(["alanine_dipeptide"])
    seen = made.new_in(graphs[0])
    assert seen.counts()["new_surroundings"] == [0, 0, 0, 0] and not seen.residues
    assert seen.sentence(graphs[0]).startswith("all its bonds")
    proline = graph_of("proline_dipeptide")[0]
    new = made.new_in(proline)
    assert new.residues == ("PRO",) and not new.elements and not new.bonds
    # Kinds of atoms are known (the nitrogen without hydrogen has three bonds too), its ring is not.
    counts = new.counts()["new_surroundings"]
    assert counts[0] == 0 and 0 < counts[1] <= counts[2] <= counts[3] <= proline.n_atoms
    named = [proline.names[k] for k in new.surroundings[1]]
    assert "PRO2-N" in named and "PRO2-CG" in named and "ACE1-CH3" not in named
    assert "PRO2-N" in new.sentence(proline)
    _, aspirin, _ = molecule("CC(=O)Oc1ccccc1Cl")
    strange = made.new_in(aspirin)
    assert (
        strange.elements == (17,)
        and strange.bonds
        and "(atomic numbers)" in strange.sentence(aspirin)
    )
    _, ours, positions = molecule("N[C@@H](C)C(=O)NC")
    one = Chemistry.of([ours], 0.2, [(np.ones((ours.n_atoms,) * 2),) * 2])
    mirrored = one.new_in(ours.seen_in(-positions))
    assert mirrored.counts()["new_surroundings"][0] == 0 and mirrored.surroundings[2]
    again = Chemistry.from_dict(made.to_dict())
    assert again.to_dict() == made.to_dict() and again.new_in(proline) == new


def test_pairs_further_apart_than_any_are_unknown_and_grow_as_a_root():
    made, graphs, _, _ = chemistry(["alanine_dipeptide"])
    longer = graph_of("alanine_tripeptide")[0]
    mean, sd, known = made.statistics(longer)
    longest, apart = furthest(made.distances), bonds_between(longer)
    assert longest == max(map(max, bonds_between(graphs[0])))
    beyond = [pair for pair in pair_names(longer) if apart[pair[0]][pair[1]] > longest]
    assert beyond and not any(known[pair] for pair in beyond)
    last = made.distances[f"{longest} bonds apart"][0]
    for i, j in beyond:
        assert mean[i, j] == pytest.approx(last * np.sqrt(apart[i][j] / longest))
    told = conditions_of(longer, made)
    assert all(told.sd[pair].isinf() for pair in beyond)
    assert told.sd[0, 1].isfinite() and made.spread(longer) > made.spread(graphs[0])
