"""What a training step keeps, and layers that are computed again where it is too much."""

import logging
from functools import partial

import pytest
import torch

import molflow.training.memory as memory
from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.nn.graph import MolecularGraph
from molflow.objectives.norm import mean_square
from molflow.objectives.registry import OBJECTIVES
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import Ingredients, build_flow_map

ATOMS, BATCH = 40, 3
CPU = torch.device("cpu")


def made(kind="sparse", batch=BATCH, derivatives="", **changes):
    """Return a map of a chain of atoms, and what trains it."""
    chain = tuple((i, i + 1) for i in range(ATOMS - 1))
    names = tuple(f"X1-A{i}" for i in range(ATOMS))
    graph = MolecularGraph((6,) * ATOMS, ("X",) * ATOMS, names, chain)
    config = TrainingConfig(batch_size=batch, network={"kind": kind, **changes})
    flow_map = build_flow_map(graph, config.network, config.map)
    law = TimeLaw(flow_map.clock, config.objective)
    frames = torch.randn(8, ATOMS, 3, generator=torch.Generator().manual_seed(0))

    def batches(epoch):
        local = [1] * epoch.count
        return StepBatches(frames, law, flow_map.basis.size, batch, local, 0, epoch)

    objective = DenoiserObjective(OBJECTIVES["semigroup"], partial(mean_square))
    return flow_map, Ingredients(objective, batches, flow_map.sde.duration, None, derivatives)


def stored(flow_map, ingredients) -> int:
    """Return the bytes of all that a step keeps, each storage once."""
    (batch,) = ingredients.batches(memory.Epoch(0, 0, 1))
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda v: kept.append(v) or v, lambda v: v)
    with hooks:
        found = ingredients.objective(flow_map, flow_map, batch)
    sizes = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in kept}
    assert found
    return sum(sizes.values())


@pytest.mark.parametrize("kind", ["sparse", "tensor_product"])
def test_what_layers_keep_is_what_recomputing_them_saves(kind):
    flow_map, ingredients = made(kind)
    with memory.counted(flow_map.network) as kept:
        (batch,) = ingredients.batches(memory.Epoch(0, 0, 1))
        ingredients.objective(flow_map, flow_map, batch)
    much = stored(flow_map, ingredients)
    flow_map.network.recompute = True
    little = stored(flow_map, ingredients)
    # All but the inputs of the layers, which are kept either way.
    assert little < 0.3 * much
    assert kept.bytes == pytest.approx(much - little, rel=0.1)


@pytest.mark.parametrize(("share", "recomputed"), [(0.9, True), (1.1, False)])
def test_layers_are_computed_again_where_the_memory_would_not_do(
    share, recomputed, monkeypatch, caplog
):
    flow_map, ingredients = made()
    (batch,) = ingredients.batches(memory.Epoch(0, 0, 1))
    with memory.counted(flow_map.network) as kept:
        ingredients.objective(flow_map, flow_map, batch)
    free = int(2 * share * memory.NEEDED * kept.bytes)
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    with caplog.at_level(logging.INFO):
        memory.recompute_where_needed(flow_map, ingredients, 0, CPU, sharing=2)
    assert flow_map.network.recompute is recomputed
    assert ("computed again" in caplog.text) is recomputed


def test_what_is_told_stays_and_derivatives_by_inputs_forbid_it(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    flow_map, ingredients = made(recompute=True)
    memory.recompute_where_needed(flow_map, ingredients, 0, CPU)
    assert flow_map.network.recompute
    flow_map, ingredients = made(derivatives="objective.family = lagrangian")
    memory.recompute_where_needed(flow_map, ingredients, 0, CPU)
    assert not flow_map.network.recompute
    flow_map, ingredients = made("dense")
    memory.recompute_where_needed(flow_map, ingredients, 0, CPU)
    assert not hasattr(flow_map.network, "recompute")


def test_memory_grows_as_the_batch():
    sizes = []
    for batch in (2, 4):
        flow_map, ingredients = made(batch=batch)
        (given,) = ingredients.batches(memory.Epoch(0, 0, 1))
        with memory.counted(flow_map.network) as kept:
            ingredients.objective(flow_map, flow_map, given)
        sizes.append(kept.bytes)
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.35)
