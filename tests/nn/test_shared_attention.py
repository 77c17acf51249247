"""The network of many molecules: the suite of all networks, hands, and molecules side by side."""

import numpy as np
import pytest
import torch
from symmetry_suite import DIPEPTIDE, INPUTS, S, SymmetrySuite, T, relabel
from toy_maps import SDE, state

from molflow.nn.chemistry import Chemistry
from molflow.nn.graph import MolecularGraph
from molflow.nn.shared_attention import SharedAttention
from molflow.systems import load_system

SIZES = {"scalars": 16, "vectors": 8, "heads": 2, "pair_width": 8}
PROLINE = load_system("proline_dipeptide")


class TestSharedAttention(SymmetrySuite):
    #: The dipeptide has no charges.
    idle = ("atoms.charge",)

    def make(self, graph, layers=2):
        return SharedAttention(graph, INPUTS, SDE.duration, layers=layers, **SIZES)


def graph_of(system) -> MolecularGraph:
    return MolecularGraph.from_topology(system.topology(), system.start_positions())


def chemistry_of(graphs) -> Chemistry:
    """Distances that are random, and of the order of those of molecules."""
    rng = np.random.default_rng(0)
    made = []
    for graph in graphs:
        mean = 0.1 + 0.4 * rng.random((graph.n_atoms, graph.n_atoms))
        made.append((mean + mean.T, 0.02 + 0.0 * mean))
    return Chemistry.of(graphs, 0.2, made)


@pytest.fixture(scope="module")
def many():
    """A network of two molecules that was told of them."""
    graphs = [DIPEPTIDE, graph_of(PROLINE)]
    network = TestSharedAttention().random()
    network.speak_of(graphs, chemistry_of(graphs))
    return network.requires_grad_(True), graphs


def test_a_molecule_among_others_is_the_molecule_alone(many):
    network, graphs = many
    states = [state(3, graph.n_atoms, INPUTS, seed=k) for k, graph in enumerate(graphs)]
    parameters = list(network.parameters())

    def gradients(net, k):
        out = net(*states[k], S, T)
        return out, torch.autograd.grad(out.square().sum(), parameters, allow_unused=True)

    loss = sum(network.of(k)(*states[k], S, T).square().sum() for k in (0, 1))
    together = torch.autograd.grad(loss, parameters, allow_unused=True)
    alone = []
    for k, graph in enumerate(graphs):
        out, _ = gradients(network.of(k), k)
        other = TestSharedAttention().random(graph).requires_grad_(True)
        other.load_state_dict(network.state_dict())
        other.speak_of([graph], chemistry_of(graphs))
        expected = other(*states[k], S, T)
        assert expected.abs().max() > 1e-2 and (out - expected).abs().max() < 1e-10
        alone.append(torch.autograd.grad(
            expected.square().sum(), list(other.parameters()), allow_unused=True
        ))  # fmt: skip
    for whole, first, second in zip(together, *alone, strict=True):
        parts = [part for part in (first, second) if part is not None]
        assert (whole is None) == (not parts)
        if parts:
            assert (whole - sum(parts)).abs().max() < 1e-10 * (1.0 + whole.abs().max())


def test_weights_belong_to_no_molecule(many):
    network, graphs = many
    other = TestSharedAttention().make(graphs[1]).double()
    assert {n: v.shape for n, v in other.state_dict().items()} == {
        n: v.shape for n, v in network.state_dict().items()
    }
    assert not any("molecule" in name for name in network.state_dict())


def test_the_hand_of_a_centre_is_told(many):
    """The same positions are another thing for the mirror image of the molecule."""
    network = TestSharedAttention().random()
    x, z = state(3, DIPEPTIDE.n_atoms, INPUTS, seed=3)
    centre = DIPEPTIDE.names.index("ALA2-CA")
    assert DIPEPTIDE.hands[centre] != 0
    hands = list(DIPEPTIDE.hands)
    hands[centre] = -hands[centre]
    other = TestSharedAttention().random(_with_hands(DIPEPTIDE, hands))
    assert (other(x, z, S, T) - network(x, z, S, T)).abs().max() > 1e-3
    blind = TestSharedAttention().random(_with_hands(DIPEPTIDE, [0] * DIPEPTIDE.n_atoms))
    assert (blind(x, z, S, T) - network(x, z, S, T)).abs().max() > 1e-3


def _with_hands(graph, hands):
    return MolecularGraph(graph.elements, graph.residues, graph.names, graph.bonds, tuple(hands))


@pytest.mark.parametrize("turns", [1, 2])
def test_hydrogens_that_a_rotation_exchanges_may_be_exchanged(turns):
    network = TestSharedAttention().random()
    x, z = state(3, DIPEPTIDE.n_atoms, INPUTS, seed=4)
    methyl = [DIPEPTIDE.names.index(f"ALA2-HB{k}") for k in (1, 2, 3)]
    order = torch.arange(DIPEPTIDE.n_atoms)
    order[methyl] = torch.tensor(methyl[turns:] + methyl[:turns])
    out = network(x, z, S, T)
    assert (network(x[:, order], z[:, order], S, T) - out[:, order]).abs().max() < 1e-12
    # Two of them for each other is a reflection of the methyl group, and atoms are not that alike.
    order[methyl] = torch.tensor([methyl[1], methyl[0], methyl[2]])
    assert (network(x[:, order], z[:, order], S, T) - out[:, order]).abs().max() > 1e-3
    # With the hand that belongs to it, it is the same molecule.
    swapped = relabel(DIPEPTIDE, order.tolist())
    assert swapped.hands != DIPEPTIDE.hands and swapped.bonds == DIPEPTIDE.bonds
    other = TestSharedAttention().random(swapped)
    assert (other(x[:, order], z[:, order], S, T) - out[:, order]).abs().max() < 1e-12


def test_without_names_residues_do_not_matter(many):
    network, graphs = many
    x, z = state(3, graphs[0].n_atoms, INPUTS, seed=5)
    named, unnamed = network.of(0)(x, z, S, T), network.of(0, named=False)(x, z, S, T)
    assert (named - unnamed).abs().max() > 1e-4
    strange = MolecularGraph(
        graphs[0].elements, ("UNK",) * graphs[0].n_atoms, graphs[0].names, graphs[0].bonds,
        graphs[0].hands,
    )  # fmt: skip
    other = TestSharedAttention().random(strange)
    other.load_state_dict(network.state_dict())
    other.speak_of([strange], chemistry_of(graphs))
    assert torch.equal(other(x, z, S, T), unnamed)
