"""What every network must do. A network's tests inherit `SymmetrySuite` and say how to make one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
import torch
from torch import nn
from toy_maps import SDE, state

from molflow.brownian.increment import Increment
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.systems import load_system
from molflow.testing import random_rotations

S, T = torch.tensor([0.5, 3.0, 7.0]).double(), torch.tensor([2.0, 3.1, 8.0]).double()
SYSTEM = load_system("alanine_dipeptide")
DIPEPTIDE = MolecularGraph.from_topology(SYSTEM.topology(), SYSTEM.start_positions())
ORDER = 3
INPUTS = SDE.basis(ORDER).size


def relabel(graph: MolecularGraph, order: list[int]) -> MolecularGraph:
    """Return the graph in which atom order[k] has become atom k."""
    place = {atom: k for k, atom in enumerate(order)}

    def hand(atom: int) -> int:
        """The same neighbours in another order, whose exchanges change the sign."""
        around = sorted(graph.neighbours()[atom], key=place.__getitem__)
        swaps = sum(a > b for k, a in enumerate(around) for b in around[k + 1 :])
        return graph.hands[atom] * (-1) ** swaps

    return MolecularGraph(
        elements=tuple(graph.elements[i] for i in order),
        residues=tuple(graph.residues[i] for i in order),
        names=tuple(graph.names[i] for i in order),
        bonds=tuple(sorted(tuple(sorted((place[i], place[j]))) for i, j in graph.bonds)),
        hands=tuple(hand(i) for i in order) if graph.hands else (),
    )


class SymmetrySuite(ABC):
    """Symmetries in float64, derivatives, initialisation and compilation of one network."""

    graph = DIPEPTIDE
    #: Parameters that cannot change the answer.
    idle: tuple[str, ...] = ()

    @abstractmethod
    def make(self, graph: MolecularGraph, layers: int = 2):
        """Return a small untrained network for a molecule."""

    def transfer(self, weights: dict, order: list[int]) -> dict:
        """Return the weights for the relabelled molecule; networks without tables need nothing."""
        return weights

    def random(self, graph: MolecularGraph | None = None, **sizes):
        """Return a network in float64 whose last layer, zero at first, is random too."""
        before = torch.get_default_dtype()
        # Not .double() afterwards: constants of e3nn would be those of single precision.
        torch.set_default_dtype(torch.float64)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network = self.make(graph or self.graph, **sizes)
                nn.init.normal_(network.last, std=0.3)
                pairs = len(network.measured_pairs())
                network.set_statistics(0.5 + torch.rand(pairs), 0.1 + 0.1 * torch.rand(pairs))
        finally:
            torch.set_default_dtype(before)
        return network.requires_grad_(False)

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls):
        return cls().random()

    @pytest.fixture
    def inputs(self):
        return state(3, self.graph.n_atoms, INPUTS, seed=1)

    def test_rotated_inputs_rotate_the_vectors_and_leave_the_scalars(self, network, inputs):
        x, z = inputs
        vectors, scalars = network.vectors_and_scalars(x, z, S, T)
        assert vectors.abs().max() > 0.01 and scalars.std() > 0.01
        rotation = random_rotations(3, torch.Generator().manual_seed(2))
        turned, same = network.vectors_and_scalars(x @ rotation.mT, rotation[:, None] @ z, S, T)
        assert (turned - vectors @ rotation.mT).abs().max() < 1e-9 * vectors.abs().max()
        assert (same - scalars).abs().max() < 1e-9 * scalars.abs().max()
        assert torch.equal(network(x, z, S, T), vectors)

    def test_mirrored_inputs_do_not_mirror_the_vectors(self, network, inputs):
        x, z = inputs
        out = network(x, z, S, T)
        assert (network(-x, -z, S, T) + out).abs().max() > 1e-3 * out.abs().max()

    def test_positions_alone_tell_the_hand(self, network, inputs):
        """In a step of no length, where no noise is seen, as the denoiser of a chiral molecule."""
        x, z = inputs
        out = network(x, torch.zeros_like(z), S, S)
        mirrored = network(-x, torch.zeros_like(z), S, S)
        assert (mirrored + out).abs().max() > 1e-3 * out.abs().max()

    @pytest.mark.parametrize("left_behind", range(INPUTS))
    def test_every_coefficient_must_turn(self, network, inputs, left_behind):
        x, z = inputs
        out = network(x, z, S, T)
        rotation = random_rotations(3, torch.Generator().manual_seed(2))
        turned = rotation[:, None] @ z
        turned[..., left_behind] = z[..., left_behind]
        error = network(x @ rotation.mT, turned, S, T) - out @ rotation.mT
        assert error.abs().max() > 1e-3 * out.abs().max()

    def test_a_moved_molecule_gives_the_same_map(self, network, inputs):
        x, z = inputs
        flow_map = DenoiserFlowMap(network, SDE, ORDER)
        out = flow_map.mean(S, T, x, z)
        moved = centre(x + torch.tensor([3.0, -1.0, 2.0]).double())
        assert (flow_map.mean(S, T, moved, z) - out).abs().max() < 1e-9
        assert out.mean(1).abs().max() < 1e-12

    def test_relabelled_atoms_give_the_relabelled_output(self, inputs):
        x, z = inputs
        network = self.random()
        order = torch.randperm(self.graph.n_atoms, generator=torch.Generator().manual_seed(5))
        other = self.random(relabel(self.graph, order.tolist()))
        other.load_state_dict(self.transfer(network.state_dict(), order))
        # Statistics belong to pairs, which every network lists in its own way.
        row = {pair: k for k, pair in enumerate(map(tuple, network.measured_pairs().tolist()))}
        rows = [row[tuple(order[pair].tolist())] for pair in other.measured_pairs()]
        mean, sd = torch.rand(2, len(rows), generator=torch.Generator().manual_seed(6)) + 0.1
        network.set_statistics(mean, sd)
        other.set_statistics(mean[rows], sd[rows])
        expected = network(x, z, S, T)[:, order]
        assert (other(x[:, order], z[:, order], S, T) - expected).abs().max() < 1e-9
        # Atoms have identities: the molecule that is not relabelled gives something else.
        assert (network(x[:, order], z[:, order], S, T) - expected).abs().max() > 1e-3

    def test_a_batch_is_its_members(self, network, inputs):
        x, z = inputs
        single = [network(x[k : k + 1], z[k : k + 1], S[k : k + 1], T[k : k + 1]) for k in range(3)]
        assert (network(x, z, S, T) - torch.cat(single)).abs().max() < 1e-10

    def test_members_of_a_batch_do_not_hear_each_other(self, network, inputs):
        x, z = (value.clone().requires_grad_() for value in inputs)
        out = network(x, z, S, T)
        gradients = torch.autograd.grad(out[0].square().sum(), (x, z))
        for gradient in gradients:
            assert gradient[0].abs().max() > 0 and not gradient[1:].any()
        shifted = x.detach().clone()
        shifted[1] = 100.0 * shifted[1]
        assert (network(shifted, z, S, T)[[0, 2]] - out[[0, 2]]).abs().max() < 1e-10

    @pytest.mark.parametrize("changed", ["x", "z", "s", "t"])
    def test_the_output_depends_on_every_input(self, network, inputs, changed):
        x, z = inputs
        values = {"x": x, "z": z, "s": S, "t": T}
        out = network(*values.values())
        values[changed] = values[changed] + 0.05 * torch.randn(
            values[changed].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        assert (network(*values.values()) - out).abs().max() > 1e-4

    def test_products_in_bfloat16_leave_the_entrance_exact_and_two_digits_of_the_vectors(
        self, inputs
    ):
        network = self.random().float()
        x, z, s, t = (value.float() for value in (*inputs, S, T))
        entered = []

        def listen(_, given):
            entered.append([value for value in given if torch.is_tensor(value)])

        network.blocks[0].register_forward_pre_hook(listen)
        exact = network(x, z, s, t)
        network.products = "bfloat16"
        rounded = network(x, z, s, t)
        before, after = entered
        assert before and all(map(torch.equal, before, after))
        assert rounded.dtype == torch.float32
        error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert 1e-4 < error < 3e-2

    def test_an_untrained_map_is_the_exact_lift(self, inputs):
        with torch.random.fork_rng():
            network = self.make(self.graph).double()
        x, z = inputs
        assert torch.equal(network(x, z, S, T), torch.zeros_like(x))
        flow_map = DenoiserFlowMap(network, SDE, ORDER)
        increment = Increment.from_whitened(flow_map.basis, T - S, z)
        skip = x / (1.0 + SDE.sigma(S).reshape(-1, 1, 1) ** 2)
        exact = SDE.apply(S, T, x, skip, increment)
        assert (flow_map(S, T, x, increment) - exact).abs().max() < 1e-12

    def test_a_step_of_no_length_is_the_identity(self, network, inputs):
        x, z = inputs
        flow_map = DenoiserFlowMap(network, SDE, ORDER)
        increment = Increment.from_whitened(flow_map.basis, torch.zeros_like(S), z)
        assert torch.equal(flow_map(S, S, x, increment), x)

    def test_jvp_equals_finite_differences(self, network, inputs):
        primals = (*inputs, S, T)
        generator = torch.Generator().manual_seed(6)
        tangents = tuple(
            torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in primals
        )
        _, slope = torch.func.jvp(network, primals, tangents)

        def at(step):
            return network(*(a + step * b for a, b in zip(primals, tangents, strict=True)))

        step = 1e-5
        difference = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        assert slope.abs().max() > 1e-3
        assert (slope - difference).abs().max() < 1e-6 * (1.0 + slope.abs().max())

    @pytest.mark.parametrize("case", ["two atoms coincide", "all atoms coincide"])
    def test_derivatives_are_finite_where_atoms_coincide(self, network, inputs, case):
        x, z = inputs
        if case == "two atoms coincide":
            x[:, 1], z[:, 1] = x[:, 0], z[:, 0]
        else:
            x, z = torch.zeros_like(x), torch.zeros_like(z)
        weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=x.dtype)

        def size(x, z):
            return (weight * network(x, z, S, T)).sin().sum()

        x.requires_grad_(), z.requires_grad_()
        first = torch.autograd.grad(size(x, z), (x, z), create_graph=True)
        assert all(part.isfinite().all() and part.abs().max() > 0 for part in first)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), (x, z))
        assert all(part.isfinite().all() for part in second)
        ones = torch.ones_like(x), torch.ones_like(z)
        _, forward = torch.func.jvp(size, (x.detach(), z.detach()), ones)
        backward = sum(part.detach().sum() for part in first)
        assert torch.allclose(forward, backward, rtol=1e-8, atol=1e-8)

    def test_every_parameter_has_a_say(self, inputs):
        network = self.random().requires_grad_(True)
        out = network(*inputs, S, T)
        weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
        names, parameters = zip(*network.named_parameters(), strict=True)
        found = torch.autograd.grad((weight * out).sum(), parameters, allow_unused=True)
        pairs = zip(names, found, strict=True)
        idle = [name for name, gradient in pairs if gradient is None or not gradient.any()]
        assert [name for name in idle if name not in self.idle] == []

    def test_compiled_equals_eager_and_compiles_once_for_a_shape(self, inputs):
        """Traced and differentiated; the writing of machine code is PyTorch's own affair."""
        from torch._dynamo.backends.debugging import aot_eager

        graphs = []

        def counting(graph, example):
            graphs.append(graph)
            # The derivatives of one shape are traced too, which takes some seconds.
            return aot_eager(graph, example) if len(graphs) == 1 else graph.forward

        x, z = inputs
        network = self.random(layers=1).requires_grad_(True)
        parameters = [p for p in network.parameters() if p.requires_grad]

        def results(function, rows):
            out = function(x[:rows], z[:rows], S[:rows], T[:rows])
            gradients = torch.autograd.grad(out.square().sum(), parameters, allow_unused=True)
            return [out.detach(), *(g for g in gradients if g is not None)]

        torch.compiler.reset()
        compiled = torch.compile(network, backend=counting, dynamic=False, fullgraph=True)
        for rows in (2, 2, 3, 2):
            for ours, theirs in zip(results(network, rows), results(compiled, rows), strict=True):
                assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-9)
        assert len(graphs) == 2
