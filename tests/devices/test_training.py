"""A training step on a device: how often the processor waits for it."""

import pytest
import torch
from counting import DEVICE, counted
from langevin_maps import random_dynamics
from toy_maps import random_map

from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.maps.denoiser.stiff_norm import StiffNorm
from molflow.maps.dynamics.batches import DynamicsBatches
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.objective import DynamicsObjective
from molflow.maps.dynamics.rollouts import PLANNED
from molflow.maps.langevin import step_plan
from molflow.maps.langevin.bonded_objective import BondedObjective
from molflow.objectives.registry import OBJECTIVES
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch
from molflow.training.loss_weight import LossWeight
from molflow.training.module import FlowMapTraining

OBJECTIVE = {
    "local_steps": 0, "local_share": 0.25, "anchor_share": 0.25, "anchor": [0.0005, 0.002],
    "rollouts": 6, "rollout_share": 0.5,
}  # fmt: skip
SIZES = {"batch_size": 8, "ema_decay": 0.9, "teacher_decay": 0.5}


def settings(kind, **changes):
    map_ = {"kind": kind, "order": 3, "longest_lag": 0.004}
    return TrainingConfig(**SIZES, map=map_, objective=OBJECTIVE | changes)


def trips_of(flow_map, objective, config, duration, batch):
    """Count what the second of two steps waits for; tables of the first stay there."""
    weight = LossWeight(duration, config.objective.least_variance)
    module = FlowMapTraining(flow_map, objective, config, weight, on_host=PLANNED).to(DEVICE)
    there = module.transfer_batch_to_device(batch, DEVICE, 0)
    with counted():
        module.training_step(there, 0)
    with counted() as trips:
        module.training_step(there, 0).backward()
    return trips


@pytest.mark.parametrize(
    ("kind", "objective", "changes"),
    [
        ("bonded", BondedObjective, {}),
        ("langevin", DynamicsObjective, {"mean_flow_share": 0.5}),
        ("overdamped", DynamicsObjective, {}),
    ],
)
def test_a_step_of_dynamics_waits_for_nothing(monkeypatch, kind, objective, changes):
    monkeypatch.setattr(step_plan, "SUBSTEP", 0.1)  # few of them
    config = settings("overdamped" if kind == "overdamped" else "langevin", **changes)
    flow_map = random_dynamics(kind).float()
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 10, 5, 3, generator=generator)
    batches = DynamicsBatches(*frames, flow_map.basis.size, config, 2.0, Epoch(0, 0, 1))
    made = objective(flow_map, config.objective)
    trips = trips_of(flow_map, made, config, CLOCK, batches[0])
    assert not trips.read and not trips.blocking


def test_a_step_of_a_map_that_samples_waits_for_nothing():
    config = TrainingConfig(**SIZES, map={"order": 3})
    flow_map = random_map()
    law = TimeLaw(flow_map.clock, config.objective)
    frames = torch.randn(10, 5, 3, generator=torch.Generator().manual_seed(0))
    batches = StepBatches(frames, law, flow_map.basis.size, 8, [2], 0, Epoch(0, 0, 1))
    norm = StiffNorm(flow_map.sde, torch.tensor([[0, 1], [1, 2]]), 3.0, 0.1)
    objective = DenoiserObjective(OBJECTIVES["semigroup"], norm)
    trips = trips_of(flow_map, objective, config, flow_map.sde.duration, batches[0])
    assert not trips.read and not trips.blocking
    # What is sent anew in each step could not be captured as a graph.
    assert not trips.sent
