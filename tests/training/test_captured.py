"""Objectives as graphs: the same residuals and gradients, whatever batch comes.

What only a GPU does, the capture itself, is stood in for by a function that keeps the tensors of
the first batch and copies those of others into them, as a graph does.
"""

from dataclasses import replace

import pytest
import torch
from toy_maps import GRAPH, SDE, random_map

from molflow.errors import MolflowError
from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserObjectiveConfig
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.objectives.norm import mean_square
from molflow.objectives.registry import OBJECTIVES
from molflow.training import captured as captured_module
from molflow.training.captured import CapturedObjective
from molflow.training.fit import Epoch, fit

OBJECTIVE = DenoiserObjective(OBJECTIVES["semigroup"], mean_square)


def batch(index, local=3):
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(10, GRAPH.n_atoms, 3, generator=generator)
    law = TimeLaw(StepClock(SDE.duration, 3.0, 4.0), DenoiserObjectiveConfig(anchor_share=0.5))
    size = SDE.basis(3).size
    return StepBatches(positions, law, size, 8, [local] * 4, 0, Epoch(0, 0, 4))[index]


class Recorded:
    """A graph without a GPU: its inputs lie where those of the first batch lay."""

    def __init__(self, asked, values, allow_unused_input):
        assert allow_unused_input
        self.asked, self.values, self.replays = asked, [value.clone() for value in values], 0

    def __call__(self, *tensors):
        self.replays += 1
        for place, tensor in zip(self.values, tensors, strict=True):
            place.copy_(tensor)
        return self.asked(*self.values)


@pytest.fixture
def captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Recorded)
    return CapturedObjective(OBJECTIVE, random_map(), random_map())


def replays(captured):
    return [graph.replay.replays for _, graph in captured._graphs]


def gradients(found, flow_map):
    flow_map.zero_grad()
    sum(one.values.square().sum() for one in found).backward()
    return [parameter.grad.clone() for parameter in flow_map.parameters()]


@pytest.mark.parametrize("index", [0, 3])
def test_other_batches_have_the_residuals_and_gradients_of_the_plain_objective(captured, index):
    _, flow_map, teacher = captured.plain
    captured(batch(0))
    found, plain = captured(batch(index)), OBJECTIVE(flow_map, teacher, batch(index))
    assert replays(captured) == [2]
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one.values, other.values) and one.parts == other.parts
        assert torch.equal(one.s, other.s) and torch.equal(one.t, other.t)
        assert not one.s.requires_grad and not one.t.requires_grad
    for one, other in zip(gradients(found, flow_map), gradients(plain, flow_map), strict=True):
        assert torch.equal(one, other)


def test_a_batch_of_other_shapes_has_its_own_graph_until_there_are_enough(captured, monkeypatch):
    _, flow_map, teacher = captured.plain
    captured(batch(0))
    captured(batch(0, local=4))
    assert replays(captured) == [1, 1]
    monkeypatch.setattr(captured_module, "MOST", 2)
    found, plain = captured(batch(0, local=5)), OBJECTIVE(flow_map, teacher, batch(0, local=5))
    assert replays(captured) == [1, 1]
    assert all(torch.equal(*pair) for pair in zip(found[1].values, plain[1].values, strict=True))


def test_numbers_that_a_graph_would_freeze_are_refused():
    with pytest.raises(MolflowError, match="captured .--capture. is True, and a step"):
        CapturedObjective(OBJECTIVE, random_map(), random_map())(batch(0) | {"eta": 0.5})


def test_only_a_gpu_captures():
    with pytest.raises(MolflowError, match="captured .--capture. is True, and the device is 'cpu'"):
        fit(random_map(), OBJECTIVE, lambda epoch: [], captured=True, device="cpu")


def test_a_step_that_cannot_be_captured_is_told(monkeypatch):
    def fails(asked, values, allow_unused_input):
        raise RuntimeError("operation not permitted when stream is capturing\nand details")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fails)
    with pytest.raises(MolflowError, match=r"cannot be captured.*\(operation not permitted"):
        CapturedObjective(OBJECTIVE, random_map(), random_map())(batch(0))


def test_numbers_to_be_watched_are_not_lost():
    def watched(flow_map, teacher, given):
        found = OBJECTIVE(flow_map, teacher, given)
        return [replace(one, watched={"a": (one.values.mean(), 1)}) for one in found]

    with pytest.raises(MolflowError, match="numbers to be watched"):
        CapturedObjective(watched, random_map(), random_map())(batch(0))


def test_parts_of_a_batch_of_several_molecules_have_graphs_of_their_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Recorded)

    def of_many(flow_map, teacher, parts):
        factor = [1.0 + part["molecule"] for part in parts]
        found = [OBJECTIVE(flow_map, teacher, part) for part in parts]
        return [
            replace(one, values=one.values * f)
            for f, several in zip(factor, found, strict=True)
            for one in several
        ]

    flow_map, teacher = random_map(), random_map()
    captured = CapturedObjective(of_many, flow_map, teacher)
    batches = [
        [{**batch(2 * k + j), "molecule": m, "named": True} for j, m in enumerate(molecules)]
        for k, molecules in enumerate([(0, 1), (1, 2)])
    ]
    for given in batches:
        found, plain = captured(given), of_many(flow_map, teacher, given)
        for one, other in zip(found, plain, strict=True):
            assert torch.equal(one.values, other.values) and one.parts == other.parts
        for one, other in zip(gradients(found, flow_map), gradients(plain, flow_map), strict=True):
            assert torch.allclose(one, other, rtol=1e-5)
    assert replays(captured) == [1, 2, 1]
