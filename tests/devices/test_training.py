"""A training step on a device: how often the processor waits for it."""

from functools import partial

import pytest
import torch
from counting import DEVICE, counted
from langevin_maps import random_dynamics
from toy_maps import random_map

from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.objective import StrongMapTraining
from molflow.maps.dynamics.batches import LangevinBatches
from molflow.maps.dynamics.objective import LangevinTraining
from molflow.maps.langevin.bonded_objective import BondedLangevinTraining
from molflow.objectives.norm import mean_square
from molflow.training.configuration import TrainingConfig

OBJECTIVE = {
    "local_steps": 0, "local_share": 0.25, "anchor_share": 0.25, "anchor": [0.0005, 0.002],
    "rollouts": 6, "rollout_share": 0.5,
}  # fmt: skip
SIZES = {"batch_size": 8, "ema_decay": 0.9, "teacher_decay": 0.5}


def settings(kind, **changes):
    map_ = {"kind": kind, "order": 3, "longest_lag": 0.004}
    return TrainingConfig(**SIZES, map=map_, objective=OBJECTIVE | changes)


def trips_of(module, batch):
    """Count what the second of two steps waits for; tables of the first stay there."""
    module._log = lambda *given: None
    module = module.to(DEVICE)
    there = module.transfer_batch_to_device(batch, DEVICE, 0)
    with counted():
        module.training_step(there, 0)
    with counted() as trips:
        module.training_step(there, 0).backward()
    return trips


@pytest.mark.parametrize(
    ("kind", "training", "changes"),
    [
        ("bonded", BondedLangevinTraining, {}),
        ("langevin", LangevinTraining, {}),
        ("langevin", LangevinTraining, {"mean_flow_share": 0.5}),
        ("overdamped", LangevinTraining, {}),
    ],
)
def test_a_step_of_dynamics_waits_for_its_rollouts_alone(kind, training, changes):
    config = settings("overdamped" if kind == "overdamped" else "langevin", **changes)
    flow_map = random_dynamics(kind).float()
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 10, 5, 3, generator=generator)
    batches = LangevinBatches(*frames, flow_map.basis.size, config, 2.0, 0, 0, 1)
    trips = trips_of(training(flow_map, config), batches[0])
    # How many rollouts are whole, and which: for the temperature in the log.
    expected = 0 if kind == "overdamped" else 2
    assert sum(n for line, n in trips.read.items() if "rollouts" in line) == expected
    assert trips.read.total() == expected and not trips.blocking


def test_a_step_of_a_map_that_samples_waits_for_nothing():
    config = TrainingConfig(**SIZES, map={"order": 3})
    flow_map = random_map()
    law = TimeLaw(flow_map.clock, config.objective)
    frames = torch.randn(10, 5, 3, generator=torch.Generator().manual_seed(0))
    batches = StepBatches(frames, law, flow_map.basis.size, 8, [2], 0, 0)
    trips = trips_of(StrongMapTraining(flow_map, config, partial(mean_square)), batches[0])
    assert not trips.read and not trips.blocking
