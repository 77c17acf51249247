"""The sparse network: the suite with and without a search for neighbours, and large molecules."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from symmetry_suite import DIPEPTIDE, INPUTS, S, SymmetrySuite, T
from torch_geometric.data import Batch
from toy_maps import SDE, state

from molflow.nn.graph import MolecularGraph
from molflow.nn.molecules import Molecules
from molflow.nn.neighbours import envelope, nearest
from molflow.nn.sparse_attention import SparseAttention
from molflow.testing import random_rotations

SIZES = {"scalars": 16, "vectors": 8, "heads": 2, "edge_width": 8}


def sparse(graph, neighbours, layers):
    return SparseAttention(
        graph, INPUTS, SDE.duration, neighbours=neighbours, layers=layers, **SIZES
    )


def chain(n: int, element: int = 6) -> MolecularGraph:
    """A chain of n atoms, each a kind of its own up to the tenth."""
    names = tuple(f"ALA{k // 10 + 1}-C{k % 10}" for k in range(n))
    bonds = tuple((k, k + 1) for k in range(n - 1))
    return MolecularGraph((element,) * n, ("ALA",) * n, names, bonds)


class TestAllPairs(SymmetrySuite):
    """A molecule so small that everybody hears everybody."""

    def make(self, graph, layers=2):
        return sparse(graph, neighbours=21, layers=layers)

    # Some seconds, and the same operations as below.
    test_compiled_equals_eager_and_compiles_once_for_a_shape = None


class TestFewNeighbours(SymmetrySuite):
    """Most neighbours are looked for."""

    def make(self, graph, layers=2):
        return sparse(graph, neighbours=6, layers=layers)


def flat(*arrays):
    return torch.cat([array.reshape(-1, *array.shape[2:]) for array in arrays])


@pytest.fixture(scope="module")
def network():
    return TestFewNeighbours().random()


@pytest.fixture(scope="module")
def mixed():
    """Three different molecules: (graphs, positions and noise of each)."""
    graphs = [DIPEPTIDE, chain(5, 7), chain(40)]
    return graphs, [state(1, graph.n_atoms, INPUTS, seed=k) for k, graph in enumerate(graphs)]


def of_molecules(network, graphs, states, s=S, t=T):
    batch = Batch.from_data_list([network.molecule(graph) for graph in graphs])
    x, z = (flat(*(pair[k] for pair in states)) for k in (0, 1))
    return network.of_molecules(Molecules.from_batch(batch), x, z, s, t)


def test_a_batch_of_different_molecules_is_its_members(network, mixed):
    graphs, states = mixed
    together = of_molecules(network, graphs, states)
    first = 0
    for k, graph in enumerate(graphs):
        alone = of_molecules(network, [graph], [states[k]], S[k : k + 1], T[k : k + 1])
        for ours, theirs in zip(together, alone, strict=True):
            assert (ours[first : first + graph.n_atoms] - theirs).abs().max() < 1e-10
        first += graph.n_atoms
    assert together[0].abs().max() > 0.01


def test_different_molecules_turn_each_on_its_own_and_may_lie_anywhere(network, mixed):
    graphs, states = mixed
    vectors, scalars = of_molecules(network, graphs, states)
    rotations = random_rotations(3, torch.Generator().manual_seed(3))
    moved = [
        (x @ r.T + 5.0 * k, r @ z)
        for k, ((x, z), r) in enumerate(zip(states, rotations, strict=True))
    ]
    turned, same = of_molecules(network, graphs, moved)
    by_atom = torch.cat([r.expand(g.n_atoms, 3, 3) for g, r in zip(graphs, rotations, strict=True)])
    assert (turned - (by_atom @ vectors[..., None])[..., 0]).abs().max() < 1e-9
    assert (same - scalars).abs().max() < 1e-9


def test_different_molecules_do_not_hear_each_other(network, mixed):
    graphs, states = mixed
    before, _ = of_molecules(network, graphs, states)
    changed = [states[0], (3.0 * states[1][0], states[1][1]), states[2]]
    after, _ = of_molecules(network, graphs, changed)
    second = slice(22, 27)
    assert (after[second] - before[second]).abs().max() > 1e-3
    after[second] = before[second]
    assert (after - before).abs().max() < 1e-12


def test_the_own_molecule_is_a_batch_like_any_other(network):
    """But for the statistics of its distances, which only the network's own molecule has."""
    network = TestFewNeighbours().random()
    network.set_statistics(torch.zeros(len(network.own_mean)), torch.tensor(torch.inf))
    x, z = state(3, 22, INPUTS, seed=8)
    vectors, _ = of_molecules(network, [DIPEPTIDE] * 3, [(x, z)])
    assert (vectors.reshape(3, 22, 3) - network(x, z, S, T)).abs().max() < 1e-12


def test_neighbours_are_the_nearest_that_are_no_pair_yet():
    generator = np.random.default_rng(0)
    sizes = [30, 3, 17]
    x = generator.standard_normal((sum(sizes), 3))
    first = np.concatenate([[0], np.cumsum(sizes)])
    graphs = [chain(n) for n in sizes]
    known = [
        (f + i, f + j)
        for f, g in zip(first[:-1], graphs, strict=True)
        for i, j, _ in g.pairs_within(2)
    ]
    pairs = torch.tensor(known).T[[1, 0]]
    asking = torch.tensor([*range(30), *range(33, 50)])
    found = nearest(torch.tensor(x), torch.tensor(first), asking, pairs, 6)
    for atom, row in zip(asking.tolist(), found.tolist(), strict=True):
        molecule = np.searchsorted(first, atom, side="right") - 1
        others = range(first[molecule], first[molecule + 1])
        allowed = [k for k in others if k != atom and (atom, k) not in set(known)]
        assert row == sorted(allowed, key=lambda k: np.linalg.norm(x[k] - x[atom]))[:6]


def test_a_short_row_is_filled_with_the_atom_itself():
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [4.5, 0, 0]])
    pairs = torch.tensor([[1, 0], [0, 1]])
    found = nearest(x, torch.tensor([0, 4]), torch.arange(4), pairs, 3)
    assert found.tolist() == [[2, 3, 0], [2, 3, 1], [1, 0, 3], [2, 1, 0]]
    weight = envelope(x, torch.arange(4), found)
    assert weight[0].tolist() == [1, 1, 0]
    # [1 - (d/r)^2]^2 with r = 4.5, and the outermost has none.
    assert weight[3].tolist() == pytest.approx([(56 / 81) ** 2, (32 / 81) ** 2, 0.0], rel=1e-4)


def test_nothing_jumps_where_neighbours_are_exchanged(network):
    """Along a line through space the list of neighbours changes, and the output does not jump."""
    x, z = (value[:1] for value in state(2, 22, INPUTS, seed=9))
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    searching = torch.arange(22)
    lists, outputs = [], []
    for step in torch.linspace(0.0, 0.02, 101):
        moved = x + step * way
        found = nearest(moved[0], torch.tensor([0, 22]), searching, network.own_pairs, 6)
        lists.append(found.sort(1)[0])
        outputs.append(network(moved, z, S[:1], T[:1]))
    exchanged = sum(not torch.equal(a, b) for a, b in pairwise(lists))
    steps = torch.stack([(b - a).norm() for a, b in pairwise(outputs)])
    assert exchanged >= 3
    assert steps.max() < 3.0 * steps.median()


def test_edges_grow_as_the_number_of_atoms():
    """And a protein-sized molecule passes, forward and backward."""
    per_atom = []
    for n in (500, 2000):
        network = sparse(chain(n), neighbours=16, layers=2)
        torch.nn.init.normal_(network.last)
        assert len(network.kinds) == 10
        x, z = state(1, n, INPUTS, seed=1, dtype=torch.float32)
        out = network(x, z, S[:1].float(), T[:1].float())
        out.square().sum().backward()
        assert out.shape == (1, n, 3) and out.isfinite().all()
        per_atom.append(len(network.measured_pairs()) / n + 16)
    assert per_atom[0] == pytest.approx(per_atom[1], rel=0.01)


def test_recomputing_layers_changes_nothing_but_memory():
    x, z = state(3, 22, INPUTS, seed=1)

    def run(recompute):
        network = TestFewNeighbours().random().requires_grad_(True)
        network.recompute = recompute
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda v: kept.append(v) or v, lambda v: v):
            out = network(x, z, S, T)
        gradients = torch.autograd.grad(out.square().sum(), network.blocks.parameters())
        return sum(value.numel() for value in kept), out.detach(), gradients

    results = run(False), run(True)
    (much, plain, first), (little, again, second) = results
    assert torch.equal(plain, again) and all(map(torch.equal, first, second))
    assert little < 0.4 * much
