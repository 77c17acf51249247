"""The training step: weights of its parts, the average, and what learns."""

import math

import pytest
import torch
from toy_maps import GRAPH, SDE, SIZES, random_map

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.denoiser.anchor import anchored_residual
from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.norm import mean_square
from molflow.objectives.registry import OBJECTIVES
from molflow.objectives.semigroup import semigroup_residual
from molflow.training.averages import Averages
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch
from molflow.training.loss_weight import LossWeight
from molflow.training.module import FlowMapTraining

CONFIG = TrainingConfig(
    network=SIZES,
    ema_decay=0.9,
    teacher_decay=0.5,
    objective={"anchor_share": 0.5, "least_variance": 0.03},
)


@pytest.fixture
def module():
    objective = DenoiserObjective(OBJECTIVES["semigroup"], mean_square)
    return FlowMapTraining(random_map(), objective, CONFIG, LossWeight(SDE.duration, 0.03))


def parts_of(module, items):
    """Return the mean and the number of the residuals of each part of the objective."""
    found = module.objective(module.flow_map, module.teacher, items)
    return {
        name: (float(part.mean()), len(part))
        for one in found
        for name, part in zip(
            one.parts, one.values.split(list(one.parts.values())), strict=True
        )
    }


def batch(local, size=6):
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(10, GRAPH.n_atoms, 3, generator=generator)
    positions = positions - positions.mean(1, keepdim=True)
    law = TimeLaw(StepClock(SDE.duration, 3.0, 4.0), CONFIG.objective)
    return StepBatches(positions, law, SDE.basis(3).size, size, [local], 0, Epoch(0, 0, 1))[0]


def start_value(residual):
    """The weighted loss before the log-variance learns: it starts near zero, weights near one."""
    u = math.log(1.0 + 0.03)
    return math.exp(-u) * residual + u


@pytest.mark.filterwarnings("ignore")  # of a module without a trainer
def test_the_loss_is_the_mean_over_molecules_of_all_residuals(module):
    items = batch(2)
    loss, parts = module.training_step(items, 0), parts_of(module, items)
    assert {name: size for name, (_, size) in parts.items()} == {
        "local": 2, "anchor": 2, "semigroup": 2,
    }  # fmt: skip
    mean = sum(value * size for value, size in parts.values()) / 6
    assert float(loss.detach()) == pytest.approx(start_value(mean), rel=1e-5)


def test_each_molecule_goes_to_its_objective(module):
    items = batch(2)
    parts = parts_of(module, items)
    s, t = items["start"], items["end"]
    u = 0.5 * (s + t)
    x = noised(items["clean"][2:], SDE.sigma(s), items["normal"][2:])
    basis, flow_map, teacher = module.flow_map.basis, module.flow_map, module.teacher
    left = Increment.from_whitened(basis, u - s, items["left"])
    right = Increment.from_whitened(basis, t - u, items["right"])
    halved = semigroup_residual(flow_map, teacher, s, u, t, x, left, right)
    tied = anchored_residual(flow_map, teacher, s, t, x, join(left, right))
    assert parts["anchor"][0] == pytest.approx(float(tied[:2].mean()), rel=1e-4)
    assert parts["semigroup"][0] == pytest.approx(float(halved[2:].mean()), rel=1e-4)


def test_frames_that_are_drawn_too_often_count_for_less_in_the_local_objective_alone(module):
    items = batch(2)
    plain = parts_of(module, items)
    before = module.objective(module.flow_map, module.teacher, items)[0].values
    factors = torch.tensor([0.25, 1.5])
    after = parts_of(module, items | {"importance": factors})
    assert after["local"][0] == pytest.approx(float((factors * before).mean()), rel=1e-5)
    assert after["anchor"] == plain["anchor"] and after["semigroup"] == plain["semigroup"]


def test_log_variance_is_bounded_below():
    weight, (s, t) = LossWeight(SDE.duration, 0.03), torch.rand(2, 5)
    least = math.log(0.03)
    for large in (-1000.0, 1000.0):
        weight.readout.weight.data.fill_(large)
        raw = weight.readout(weight.embedding(s, s + t)).squeeze(-1)
        assert weight(s, s + t).tolist() == pytest.approx(raw.clamp(min=least).tolist(), abs=1e-3)
    weight.readout.weight.data.zero_()
    assert weight(s, s + t).tolist() == pytest.approx([math.log(1.03)] * 5, rel=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_local_batch_is_the_denoising_loss(module):
    items = batch(6)
    loss = module.training_step(items, 0).detach()
    s = items["local_time"]
    noisy = noised(items["clean"], SDE.sigma(s), items["normal"])
    expected = matching_residual(module.flow_map, s, noisy, items["clean"]).mean()
    assert float(loss) == pytest.approx(start_value(float(expected)), rel=1e-5)
    assert set(parts_of(module, items)) == {"local"}


@pytest.mark.filterwarnings("ignore")
def test_student_and_log_variance_learn_and_the_averages_do_not(module):
    module.training_step(batch(2), 0).backward()
    averages = [*module.teacher.parameters(), *module.averaged.parameters()]
    assert all(p.grad is None for p in averages)
    assert module.flow_map.network.last.grad.abs().max() > 0
    assert module.weight.readout.weight.grad.abs().max() > 0
    trained = {id(p) for p in module.parameters_to_train()}
    assert trained.isdisjoint(id(p) for p in averages)
    assert {id(p) for p in module.flow_map.parameters()} <= trained


@pytest.mark.parametrize(("name", "decay"), [("kept", 0.9), ("teacher", 0.5)])
def test_the_averages_start_at_the_student_and_lengthen_their_memory(name, decay):
    flow_map = random_map()
    averages = Averages(flow_map, kept=0.9, teacher=0.5)
    weight, average = flow_map.network.last, averages[name].network.last
    expected = None
    for count in range(40):
        weight.data.fill_(float(count + 1))
        averages.update(flow_map, count + 1)
        kept = min(decay, (1 + count) / (10 + count))
        value = count + 1.0
        expected = value if expected is None else kept * expected + (1 - kept) * value
        assert float(average[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_the_optimiser_follows_the_schedule(module):
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert made["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    warmup = CONFIG.learning_rate_warmup
    assert rates == pytest.approx([1e-3 * (k + 1) / warmup for k in range(3)])
