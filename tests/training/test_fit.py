"""The front door: any map, any objective, nothing changed around it."""

import logging
import os
import random
import time
import warnings
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import molflow
from molflow.brownian.increment import sample_increment
from molflow.errors import MolflowError
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.objectives.matching import direct_residual, matching_residual
from molflow.objectives.residuals import Residuals
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.training.clock import TrainingClock
from molflow.training.fit import _Source
from molflow.training.loss_weight import LossWeight
from molflow.training.module import FlowMapTraining
from molflow.training.schedule import learning_rate_factor

SDE = OrnsteinUhlenbeck(1.0, 0.5)
SETTINGS = molflow.Optimisation(
    steps=60, steps_per_epoch=20, learning_rate=0.1, learning_rate_warmup=1,
    learning_rate_decay=20, ema_decay=0.8, teacher_decay=0.5, validate_every=2,
)  # fmt: skip


class Mean(nn.Module):
    """n̄ = w x + the features, weighed."""

    def __init__(self):
        super().__init__()
        self.own, self.features = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(3))

    def forward(self, s, t, x, z):
        return self.own * x + z @ self.features


def small_map():
    return LiftedFlowMap(Mean(), SDE, SDE.basis(2))


def batches(epoch):
    for k in range(epoch.count):
        generator = torch.Generator().manual_seed(100 * epoch.first + k)
        x = torch.randn(64, 1, generator=generator)
        s, t = torch.zeros(64), 0.1 + torch.rand(64, generator=generator)
        yield s, t, x, sample_increment(SDE.basis(2), t - s, x.shape, generator)


def force(flow_map, teacher, batch):
    """n stays at -2 x along a step."""
    s, t, x, increment = batch
    end = flow_map.sde.apply(s, t, x, -2.0 * x, increment)
    return direct_residual(flow_map, s, t, x, increment, end)


def test_a_map_of_any_equation_learns_by_an_objective_that_is_a_function():
    seen = []
    found = molflow.fit(
        small_map(), force, batches, SETTINGS, device="cpu",
        validation=lambda trained: {"own": float(trained.network.own)},
        write=lambda trained, steps, rows: seen.append((steps, rows[-1])),
    )  # fmt: skip
    assert float(found.network.own) == pytest.approx(-2.0, abs=0.1)
    assert float(found.network.features.abs().max()) < 0.1
    assert not found.training
    assert [steps for steps, _ in seen] == [20, 40, 60]
    assert [("val/own" in row) for _, row in seen] == [False, True, False]
    # The weighted loss falls.
    assert seen[-1][1]["loss/weighted"] < 0.5 * seen[0][1]["loss/weighted"]


class Drawn(torch.utils.data.Dataset):
    """The batches of an epoch by number, each with the process that drew it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.epoch.count

    def __getitem__(self, index):
        if index >= self.epoch.count:
            raise IndexError
        generator = torch.Generator().manual_seed(100 * self.epoch.first + index)
        return {"x": torch.randn(3, generator=generator), "index": index, "process": os.getpid()}


def test_processes_beside_the_trainer_draw_the_same_batches_in_the_same_order():
    found = []
    for workers in (0, 2):
        source = _Source(SETTINGS, Drawn, workers)
        source.trainer = SimpleNamespace(current_epoch=1, global_rank=0, world_size=1)
        found.append(list(source.train_dataloader()))
    alone, beside = found
    assert [one["index"] for one in beside] == list(range(20))
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one["x"], other["x"]) and one["index"] == other["index"]
    assert {one["process"] for one in alone} == {os.getpid()}
    assert os.getpid() not in {one["process"] for one in beside}


class Stream(torch.utils.data.IterableDataset):
    """Batches one after the other, which no process can be asked for by number."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(range(self.epoch.count))


def test_a_stream_of_batches_is_read_once():
    source = _Source(SETTINGS, Stream, 2)
    source.trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    assert list(source.train_dataloader()) == list(range(20))


def test_an_objective_with_weights_of_its_own_and_a_learned_weight_of_the_loss():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.size = nn.Parameter(torch.ones(()))

        def forward(self, flow_map, teacher, batch):
            s, t, x, _ = batch
            values = matching_residual(flow_map, s, x, -self.size * x)
            return Residuals(values + (self.size - 3.0) ** 2, s, t, {"force": len(values)})

    objective, rows = Scaled(), []
    molflow.fit(
        small_map(), objective, batches, SETTINGS, weight=LossWeight(1.0, 0.01), device="cpu",
        write=lambda trained, steps, history: rows.extend(history[-1:]),
    )  # fmt: skip
    assert float(objective.size.detach()) > 1.5
    assert rows[-1]["loss/force"] < rows[0]["loss/force"]


def test_a_run_in_a_folder_goes_on_where_it_was(tmp_path):
    whole = molflow.fit(small_map(), force, batches, SETTINGS, out=tmp_path / "a", device="cpu")
    short = SETTINGS.model_copy(update={"steps": 40, "learning_rate_decay": 0})
    molflow.fit(small_map(), force, batches, short, out=tmp_path / "b", device="cpu")
    parts = molflow.fit(small_map(), force, batches, SETTINGS, out=tmp_path / "b", device="cpu")
    assert torch.equal(whole.network.own, parts.network.own)
    assert len((tmp_path / "b" / "metrics.csv").read_text().splitlines()) == 4


def surroundings():
    return (
        torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),
        list(warnings.filters), logging.getLogger("lightning.pytorch").level,
        torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )  # fmt: skip


def test_nothing_around_it_changes():
    settings = SETTINGS.model_copy(update={"steps": 1})
    flow_map, before = small_map(), surroundings()
    molflow.fit(flow_map, force, batches, settings, device="cpu")
    assert surroundings() == before
    with pytest.raises(MolflowError, match="gradient of step 1 is not finite"):
        nan = torch.tensor(float("nan"))
        molflow.fit(flow_map, lambda *given: nan * force(*given), batches, settings, device="cpu")
    assert surroundings() == before


def test_buffers_of_one_process_are_not_sent_to_the_others():
    objective = nn.Module()
    objective.register_buffer("rollouts", torch.zeros(3))
    module = FlowMapTraining(small_map(), objective, SETTINGS)
    kept = module._ddp_params_and_buffers_to_ignore  # the name that torch looks for
    assert set(kept) == {name for name, _ in module.named_buffers()}
    assert "objective.rollouts" in kept


def test_processes_have_batches_of_their_own():
    one, other = (molflow.Epoch(2, 40, 20, rank, 2) for rank in (0, 1))
    assert one.names(3) == molflow.Epoch(2, 40, 20).names(3) == (2, 3)
    assert other.names(3) == (2, 3, 1)


def test_a_device_that_is_not_there_is_a_sentence():
    with pytest.raises(MolflowError, match="device is 'tpu': choose auto"):
        molflow.fit(small_map(), force, lambda epoch: repeat(None, 1), SETTINGS, device="tpu")


def test_a_training_ends_with_its_time(tmp_path):
    settings = SETTINGS.model_copy(
        update={"steps": 10_000, "learning_rate_decay": 4000, "seconds": 1.5}
    )
    steps_done, clock = [], {}

    def slow(epoch):
        for batch in batches(epoch):
            time.sleep(0.01)
            yield batch

    def write(trained, steps, rows):
        steps_done.append(rows[-1]["step"])

    def trained():
        begun = time.monotonic()
        found = molflow.fit(
            small_map(), force, slow, settings, device="cpu", out=tmp_path / "run", write=write
        )  # fmt: skip
        clock["seconds"] = time.monotonic() - begun
        return found

    first = trained()
    assert 1.5 <= clock["seconds"] < 6.0 and 5 < steps_done[-1] < 151
    last = steps_done[-1]
    again = trained()
    # The time is spent: not a step more, and the same weights.
    assert torch.equal(first.network.features, again.network.features)
    assert steps_done[-1] == last


def test_rates_follow_what_is_further_steps_or_time():
    settings = SETTINGS.model_copy(update={"steps": 100, "seconds": 10.0})
    clock = TrainingClock(settings)
    clock.load_state_dict({"elapsed": 5.0})
    assert clock.reached(20) == pytest.approx(50.0, abs=1.0) and clock.reached(80) == 80
    clock.load_state_dict({"elapsed": 50.0})
    assert clock.reached(20) == 100
    assert learning_rate_factor(clock.reached(20), settings) == pytest.approx(0.0, abs=1e-12)
    assert TrainingClock(SETTINGS).reached(20) == 20
