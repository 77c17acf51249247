"""The tensor-product network: the suite for each highest degree, and its irreps."""

import copy

import pytest
import torch
from e3nn.o3 import Irreps, Linear, TensorProduct
from symmetry_suite import INPUTS, S, SymmetrySuite, T
from toy_maps import SDE, state

from molflow.errors import MolflowError
from molflow.nn.channel_products import ChannelProducts
from molflow.nn.degree_linear import DegreeLinear
from molflow.nn.tensor_product import TensorProductNetwork, even_irreps


def network(graph, irreps, neighbours, layers):
    return TensorProductNetwork(
        graph, INPUTS, SDE.duration, irreps, layers, edge_width=8, neighbours=neighbours
    )


class TestTensorProduct(SymmetrySuite):
    """Degrees up to two, neighbours looked for."""

    # Degrees above one are zero at the entrance, and not asked for at the end.
    idle = tuple(f"blocks.{name}.weights.2" for name in ("0.up", "0.own", "1.down", "1.own"))

    def make(self, graph, layers=2):
        return network(graph, "8x0e + 6x1e + 2x2e", 6, layers)


class DegreeThree(SymmetrySuite):
    """All degrees, all pairs: what its making alone takes is too long for the whole suite."""

    def make(self, graph, layers=2):
        return network(graph, "6x0e + 4x1e + 2x2e + 2x3e", 21, layers)


def test_degree_three():
    suite, made = DegreeThree(), DegreeThree().random()
    inputs = state(3, suite.graph.n_atoms, INPUTS, seed=1)
    suite.test_rotated_inputs_rotate_the_vectors_and_leave_the_scalars(made, inputs)
    suite.test_positions_alone_tell_the_hand(made, inputs)
    suite.test_jvp_equals_finite_differences(made, inputs)


def test_irreps_come_in_the_order_of_their_degree():
    assert str(even_irreps("2x2e + 8x0e+4x1e + 1x0e")) == "9x0e+4x1e+2x2e"


@pytest.mark.parametrize("text", ["8x0e + 4x1o", "8x0e", "4x1e", "8x0e+4x1e+1x4e", "", "8x0e+?"])
def test_other_irreps_are_refused(text):
    with pytest.raises(MolflowError, match="irreps = "):
        even_irreps(text)


def test_products_are_those_of_e3nn():
    """The same paths with the same weights in the same order; outputs come in another."""
    irreps, harmonics = even_irreps("5x0e + 4x1e + 3x2e + 2x3e"), Irreps("1x0e+1x1e+1x2e+1x3e")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        ours = ChannelProducts(irreps, harmonics)
        paths, out = [], []
        for i, degrees in enumerate(ours.paths):
            rights = [j for j in range(4) for k in range(4) if abs(i - j) <= k <= i + j]
            for degree, j in zip(degrees, rights, strict=True):
                paths.append((i, j, len(out), "uvu", True))
                out.append((irreps[i].mul, (degree, 1)))
        theirs = TensorProduct(
            irreps, harmonics, out, paths, internal_weights=False, shared_weights=False
        )
        state, y = irreps.randn(7, -1), harmonics.randn(7, -1)
        weights = torch.randn(7, ours.weights)
    finally:
        torch.set_default_dtype(before)
    assert theirs.weight_numel == ours.weights
    expected = theirs(state, y, weights)
    by_degree = [
        expected[:, place]
        for degree in range(4)
        for (_, ir), place in zip(theirs.irreps_out, theirs.irreps_out.slices(), strict=True)
        if ir.l == degree
    ]
    assert (
        torch.cat(ours(state, y, weights), dim=1) - torch.cat(by_degree, dim=1)
    ).abs().max() < 1e-12


def test_mixing_is_that_of_e3nn():
    """Which divides its weights by the root of the channels that come in."""
    before, after = even_irreps("5x0e + 4x1e + 3x2e"), even_irreps("2x0e + 6x1e + 1x2e")
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours, theirs = DegreeLinear(before, after), Linear(before, after, biases=True)
        wide = DegreeLinear(even_irreps("400x0e + 400x1e"), even_irreps("400x0e + 400x1e"))
    torch.nn.init.normal_(ours.bias, generator=generator)
    pairs = zip(ours.weights, before, strict=True)
    weights = torch.cat([(weight * mul**0.5).flatten() for weight, (mul, _) in pairs])
    theirs.weight.data, theirs.bias.data = weights.detach(), ours.bias.detach()
    x = torch.randn(7, before.dim, generator=generator)
    assert (ours(x) - theirs(x)).abs().max() < 1e-5 * theirs(x).abs().max()
    # Of unit size on average over weights, as what comes in.
    assert wide(torch.ones(1, 1600)).square().mean().item() == pytest.approx(1.0, rel=0.2)


def test_copies_have_the_same_weights_and_buffers():
    """Averages of weights begin as copies, and are what a checkpoint keeps."""
    made = TestTensorProduct().random()
    copied = copy.deepcopy(made)
    assert [name for name, _ in made.named_buffers()] == [n for n, _ in copied.named_buffers()]
    assert list(made.state_dict()) == list(copied.state_dict())
    x, z = state(3, 22, INPUTS, seed=1)
    assert torch.equal(made(x, z, S, T), copied(x, z, S, T))


def test_cross_products_are_among_the_products():
    """Without them the network could not tell left from right."""
    product = ChannelProducts(Irreps("1x0e + 1x1e"), Irreps("1x0e + 1x1e"))
    a, b = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(5, 1)
    sides = torch.cat([zero, a], dim=1), torch.cat([zero, b], dim=1)
    out = torch.cat(product(*sides, torch.ones(5, product.weights)), dim=1)
    vectors = out[:, product.out.count("0e") :].reshape(5, -1, 3)
    axial = torch.linalg.cross(a, b)
    alike = torch.nn.functional.cosine_similarity(vectors, axial.unsqueeze(1), dim=-1).abs()
    assert (alike > 0.999).all(0).any()
