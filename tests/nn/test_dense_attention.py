"""The dense network: the suite of all networks, its pair features and its embeddings."""

import math

import pytest
import torch
from symmetry_suite import INPUTS, S, SymmetrySuite, T
from toy_maps import SDE, SIZES, random_network, state

from molflow.nn.dense_attention import DenseAttention
from molflow.nn.embedding import GaussianBasis, StepEmbedding
from molflow.nn.pair_features import PairFeatures
from molflow.testing import random_rotations


class TestDenseAttention(SymmetrySuite):
    def make(self, graph, layers=2):
        return DenseAttention(graph, INPUTS, SDE.duration, **{**SIZES, "layers": layers})

    def transfer(self, weights, order):
        """Its atoms have tables of their own."""
        weights = dict(weights)
        for name in ("identity", "pairs.sender", "pairs.receiver"):
            weights[name] = weights[name][order]
        weights["dihedrals.identity"] = weights["dihedrals.identity"][:, order]
        return weights


def test_pair_features_are_invariant_under_rotation_and_translation():
    network = random_network(4).double()
    pairs: PairFeatures = network.pairs
    x, z = state(3, len(network.elements), 4, seed=4)
    step = network.step(S, T)
    vectors = torch.cat([x[..., None], z], dim=-1)
    features = pairs(vectors, step, S)
    rotation = random_rotations(3, torch.Generator().manual_seed(5))
    assert (pairs(rotation[:, None] @ vectors + 2.0, step, S) - features).abs().max() < 1e-12
    # A pair is ordered: what i tells j is not what j tells i.
    assert (features - features.transpose(1, 2)).abs().max() > 1e-3


def test_an_atom_is_at_no_distance_from_itself_with_products_in_bfloat16(monkeypatch):
    """Squared distances are differences of products a hundred times larger."""
    network = random_network(4).float().eval()
    seen, real = [], torch.softmax
    for block in network.blocks:  # distances alone decide to whom an atom listens
        for part in (block.qkv, block.pair):
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)

    def listening(logits, dim):
        seen.append(logits)
        return real(logits, dim)

    monkeypatch.setattr(torch, "softmax", listening)
    x, z = (value.float() for value in state(3, len(network.elements), 4, seed=4))
    network.products = "bfloat16"
    with torch.no_grad():
        network(10.0 * x, z, S.float(), T.float())
    for logits in seen:
        own = logits.diagonal(dim1=-2, dim2=-1)
        assert logits.dtype == torch.float32 and logits.min() < -10.0
        assert own.abs().max() < 1e-5 * logits.abs().max()


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
