"""The training step: weights of its parts, the average, and what learns."""

import pytest
import torch
from toy_maps import GRAPH, SDE, SIZES, random_map

from molflow.objectives.denoising import denoising_residual, noised
from molflow.training.batches import StepBatches, TimeLaw
from molflow.training.configuration import TrainingConfig
from molflow.training.module import StrongMapTraining

CONFIG = TrainingConfig(network=SIZES, ema_decay=0.9)


@pytest.fixture
def module():
    module = StrongMapTraining(random_map(), CONFIG)
    module.logged = {}
    module._log = lambda name, value: module.logged.update({name: float(value)})
    return module


def batch(local, size=6):
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(10, GRAPH.n_atoms, 3, generator=generator)
    positions = positions - positions.mean(1, keepdim=True)
    law = TimeLaw(SDE.duration, SDE.sigma_max, CONFIG.objective)
    return StepBatches(positions, law, SDE.basis(3).size, size, [local], 0, 0)[0]


def test_the_loss_is_the_mean_over_molecules_of_both_residuals(module):
    """At the start the log-variance is zero, so the weights are one."""
    loss = module.training_step(batch(4), 0)
    parts = module.logged
    expected = (4 * parts["loss/local"] + 2 * parts["loss/semigroup"]) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_local_batch_is_the_denoising_loss(module):
    items = batch(6)
    loss = module.training_step(items, 0)
    s = items["local_time"]
    noisy = noised(items["clean"], SDE.sigma(s), items["normal"])
    expected = denoising_residual(module.flow_map, s, items["clean"], noisy).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert "loss/semigroup" not in module.logged


def test_student_and_log_variance_learn_and_the_teacher_does_not(module):
    module.training_step(batch(4), 0).backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    assert module.flow_map.network.last.grad.abs().max() > 0
    assert module.log_variance[1].weight.grad.abs().max() > 0
    trained = {id(p) for p in module.parameters_to_train()}
    assert trained.isdisjoint(id(p) for p in module.teacher.parameters())
    assert {id(p) for p in module.flow_map.parameters()} <= trained


def test_the_average_starts_at_the_student_and_lengthens_its_memory(module):
    weight, averaged = module.flow_map.network.last, module.teacher.network.last
    expected = None
    for count in range(40):
        weight.data.fill_(float(count + 1))
        module.on_train_batch_end()
        kept = min(0.9, (1 + count) / (10 + count))
        value = count + 1.0
        expected = value if expected is None else kept * expected + (1 - kept) * value
        assert float(averaged[0, 0]) == pytest.approx(expected, rel=1e-5)


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
