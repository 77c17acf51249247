"""Symmetries of the network alone, in float64."""

import math

import pytest
import torch
from toy_maps import GRAPH, SDE, SIZES, random_network, state

from molflow.nn.dense_attention import DenseAttention
from molflow.nn.embedding import GaussianBasis, StepEmbedding
from molflow.nn.graph import MolecularGraph
from molflow.nn.pair_features import PairFeatures
from molflow.testing import random_rotations

S, T = torch.tensor([0.5, 3.0, 7.0]).double(), torch.tensor([2.0, 3.1, 8.0]).double()


@pytest.fixture(scope="module")
def network():
    return random_network(4).double()


@pytest.fixture
def inputs():
    return state(3, GRAPH.n_atoms, 4, seed=1)


def test_rotated_inputs_give_the_rotated_output_and_mirrored_ones_do_not(network, inputs):
    x, z = inputs
    out = network(x, z, S, T)
    assert out.abs().max() > 0.01
    rotation = random_rotations(3, torch.Generator().manual_seed(2))
    turned = network(x @ rotation.mT, rotation[:, None] @ z, S, T)
    assert (turned - out @ rotation.mT).abs().max() < 1e-9 * out.abs().max()
    mirrored = network(-x, -z, S, T)
    assert (mirrored + out).abs().max() > 1e-3 * out.abs().max()


def test_every_coefficient_must_turn(network, inputs):
    """The check above sees a coefficient that is left behind."""
    x, z = inputs
    out = network(x, z, S, T)
    rotation = random_rotations(3, torch.Generator().manual_seed(2))
    for left_behind in range(4):
        turned = rotation[:, None] @ z
        turned[..., left_behind] = z[..., left_behind]
        error = network(x @ rotation.mT, turned, S, T) - out @ rotation.mT
        assert error.abs().max() > 1e-3 * out.abs().max()


def test_relabelled_atoms_give_the_relabelled_output(network, inputs):
    x, z = inputs
    order = torch.tensor([3, 0, 4, 1, 2])  # atom order[k] becomes atom k
    place = order.argsort().tolist()
    graph = MolecularGraph(
        elements=tuple(GRAPH.elements[i] for i in order),
        residues=tuple(GRAPH.residues[i] for i in order),
        names=tuple(GRAPH.names[i] for i in order),
        bonds=tuple((place[i], place[j]) for i, j in GRAPH.bonds),
    )
    relabelled = DenseAttention(graph, 4, SDE.duration, **SIZES).double()
    weights = network.state_dict()
    for name in ("identity", "pairs.sender", "pairs.receiver"):
        weights[name] = weights[name][order]
    weights["dihedrals.identity"] = weights["dihedrals.identity"][:, order]
    relabelled.load_state_dict(weights)
    expected = network(x, z, S, T)[:, order]
    out = relabelled(x[:, order], z[:, order], S, T)
    assert (out - expected).abs().max() < 1e-12
    # Atoms have identities: without relabelling the weights the output is another.
    weights["identity"] = network.state_dict()["identity"]
    relabelled.load_state_dict(weights)
    assert (relabelled(x[:, order], z[:, order], S, T) - expected).abs().max() > 1e-4


def test_a_batch_is_its_members(network, inputs):
    x, z = inputs
    single = [network(x[k : k + 1], z[k : k + 1], S[k : k + 1], T[k : k + 1]) for k in range(3)]
    assert (network(x, z, S, T) - torch.cat(single)).abs().max() < 1e-12


@pytest.mark.parametrize("changed", ["x", "z", "s", "t"])
def test_the_output_depends_on_every_input(network, inputs, changed):
    x, z = inputs
    values = {"x": x, "z": z, "s": S, "t": T}
    out = network(*values.values())
    values[changed] = values[changed] + 0.05 * torch.randn(
        values[changed].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    assert (network(*values.values()) - out).abs().max() > 1e-4


def test_zero_at_initialisation():
    with torch.random.fork_rng():
        network = DenseAttention(GRAPH, 4, SDE.duration, **SIZES).double()
    x, z = state(3, GRAPH.n_atoms, 4, seed=1)
    assert torch.equal(network(x, z, S, T), torch.zeros_like(x))


def test_pair_features_are_invariant_under_rotation_and_translation(network):
    pairs: PairFeatures = network.pairs
    x, z = state(3, GRAPH.n_atoms, 4, seed=4)
    step = network.step(S, T)
    vectors = torch.cat([x[..., None], z], dim=-1)
    features = pairs(vectors, step, S)
    rotation = random_rotations(3, torch.Generator().manual_seed(5))
    assert (pairs(rotation[:, None] @ vectors + 2.0, step, S) - features).abs().max() < 1e-12
    # A pair is ordered: what i tells j is not what j tells i.
    assert (features - features.transpose(1, 2)).abs().max() > 1e-3


def test_gaussian_basis_values():
    basis = GaussianBasis(0.0, 4.0, 5)
    value = torch.tensor([1.5])
    expected = [math.exp(-0.5 * (1.5 - c) ** 2) for c in range(5)]
    assert basis(value)[0].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("pair", [((8.0, 8.3), (8.1, 8.4)), ((1.0, 1.05), (1.0, 1.15))])
def test_step_embedding_tells_near_steps_apart(pair):
    """Times a fraction of a unit apart, and lengths of short steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedding = StepEmbedding(SDE.duration, 64)
    first, second = (embedding(*torch.tensor(ends).reshape(2, 1)) for ends in pair)
    spread = embedding(torch.linspace(0, 4, 50), torch.linspace(4, 8.5, 50)).std(0).norm()
    assert (first - second).norm() > 0.05 * spread
