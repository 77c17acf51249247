"""A network of distances makes both hands alike, in law and in count; ours do not.

The network f(x, z) of scalar products has f(-x, -z) = -f(x, z). The law of the start and that of
the Brownian path are the same for -x and -z, so that samples and their mirror images have one law:
half of them are of the wrong hand, however well it is trained.
"""

import numpy as np
import pytest
import torch
from peers import GraphTransformer
from symmetry_suite import DIPEPTIDE, INPUTS, S, SymmetrySuite, T
from toy_maps import SDE, state

from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.brownian.path import BrownianPath
from molflow.comparison import find_reference
from molflow.flow_map.rollout import rollout
from molflow.maps.denoiser.draw import start_positions
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.systems import load_system
from molflow.testing import DistanceOnly
from molflow.training.checkpoint import load_checkpoint

CENTRES = stereocentres(load_system("alanine_dipeptide").topology())


class DistanceSuite(SymmetrySuite):
    def make(self, graph, layers=2):
        return DistanceOnly(graph, INPUTS, SDE.duration, 16, layers)


class Mirrored:
    """The mirror image of a path."""

    def __init__(self, path):
        self.path, self.snap = path, path.snap

    def increment(self, s, t):
        return self.path.increment(s, t).rotate(-torch.eye(3))


def pairs_of_samples(flow_map, n, steps=4, seed=0):
    """Draw n samples, and n more from the mirrored starts along the mirrored paths."""
    x = start_positions(flow_map, n, 22, seed)
    path = BrownianPath(flow_map.basis, 0.0, flow_map.sde.duration, (n, 22, 3), seed)
    times = flow_map.clock.grid(steps)
    with torch.no_grad():
        return rollout(flow_map, x, path, times), rollout(flow_map, -x, Mirrored(path), times)


def test_it_turns_with_its_inputs_and_knows_no_hand():
    suite, network = DistanceSuite(), DistanceSuite().random()
    inputs = state(3, 22, INPUTS, seed=1)
    suite.test_rotated_inputs_rotate_the_vectors_and_leave_the_scalars(network, inputs)
    x, z = inputs
    out = network(x, z, S, T)
    assert (network(-x, -z, S, T) + out).abs().max() < 1e-12 * out.abs().max()
    # So the tests of our networks would find it out.
    with pytest.raises(AssertionError):
        suite.test_mirrored_inputs_do_not_mirror_the_vectors(network, inputs)
    with pytest.raises(AssertionError):
        suite.test_positions_alone_tell_the_hand(network, inputs)


def test_half_of_its_samples_are_mirror_images():
    flow_map = DenoiserFlowMap(DistanceSuite().random().float(), SDE, 3)
    one, other = pairs_of_samples(flow_map, n=256)
    assert torch.equal(one, -other)
    hands = [handedness(part.numpy(), CENTRES)[:, 0] for part in (one, other)]
    assert np.array_equal(hands[0], -hands[1])
    # The starts are independent: a binomial count, of standard deviation 8.
    assert abs(int((hands[0] > 0).sum()) - 128) < 32


def test_the_shipped_network_keeps_the_hand_on_mirrored_paths():
    one, other = pairs_of_samples(load_checkpoint("alanine_dipeptide").flow_map, n=32, steps=8)
    (right,) = np.unique(handedness(find_reference("alanine_dipeptide").positions, CENTRES))
    for part in (one, other):
        assert (handedness(part.numpy(), CENTRES) == right).all()


def test_the_lean_transformer_is_the_transformer():
    """What the benchmark compares with is one function, computed in two orders."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = GraphTransformer(DIPEPTIDE, INPUTS, SDE.duration).double()
        lean = GraphTransformer(DIPEPTIDE, INPUTS, SDE.duration, lean=True).double()
    lean.load_state_dict(plain.state_dict())
    x, z = state(3, 22, INPUTS, seed=1)
    out = plain(x, z, S, T)
    assert out.abs().max() > 0.01
    assert (lean(x, z, S, T) - out).abs().max() < 1e-12
    count = sum(value.numel() for value in plain.parameters())
    assert count == pytest.approx(1.65e6, rel=0.005)
