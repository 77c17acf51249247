"""The training step of a map of dynamics: who is taught what, and rollouts that go on."""

import pytest
import torch
from langevin_maps import SCALES, random_dynamics
from probe import Probe

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.dynamics.batches import DynamicsBatches
from molflow.maps.dynamics.objective import DynamicsObjective
from molflow.maps.dynamics.thermal_norm import ThermalNorm
from molflow.maps.langevin.mean_point import MeanPointMap
from molflow.objectives.eulerian import mean_flow_residual
from molflow.objectives.matching import matching_residual
from molflow.objectives.semigroup import composed_mean, semigroup_residual
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch

SETTINGS = {
    "batch_size": 16, "ema_decay": 0.9, "teacher_decay": 0.5,
    "map": {"kind": "langevin", "order": 3, "longest_lag": 0.04},
    "objective": {
        "local_steps": 2, "local_share": 0.25, "anchor_share": 0.25, "rollouts": 6,
        "rollout_share": 0.5, "rollout_length": 1000, "frictions": [1.0, 4.0],
    },
}  # fmt: skip
CONFIG = TrainingConfig(**SETTINGS)


def batches(config=CONFIG, epoch=0, first=100):
    generator = torch.Generator().manual_seed(0)
    positions, forces = 0.15 * torch.randn(2, 20, 5, 3, generator=generator)
    return DynamicsBatches(positions, 1000 * forces, 4, config, 2.0, Epoch(epoch, first, 3))


@pytest.fixture
def module():
    flow_map = random_dynamics().float()
    return Probe(DynamicsObjective(flow_map, CONFIG.objective), flow_map)


def test_a_batch_follows_from_seed_epoch_and_number():
    one, same, other = batches()[1], batches()[1], batches(epoch=1)[1]
    for name, value in one.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(same[name]))
    assert not torch.equal(one["left"], other["left"])
    assert (one["local"], one["anchored"], len(one["lag"])) == (4, 3, 12)
    assert len(one["slots"]) == 4 and len(set(one["slots"].tolist())) == 4
    anchored, free = one["lag"][:3], one["lag"][3:]
    assert bool(((anchored >= 0.0002) & (anchored <= 0.0006)).all())
    assert bool(((free >= 0.0006) & (free <= 0.04)).all()) and float(free.max()) > 0.02
    assert 1.0 <= one["friction"] <= 4.0
    assert batches(first=0)[1]["local"] == 16 and len(batches(first=0)[1]["lag"]) == 0


def test_lags_are_log_uniform():
    config = CONFIG.model_copy(update={"batch_size": 4000})
    lags = batches(config)[0]["lag"]
    free = lags[batches(config)[0]["anchored"] :]
    for share in (0.25, 0.5):
        lag = 0.0006 * (0.04 / 0.0006) ** share
        assert float((free < lag).double().mean()) == pytest.approx(share, abs=0.002)
    # in no order, so that rollouts see all of them
    assert float(free[: len(free) // 2].median()) == pytest.approx(lag, rel=0.15)


def test_each_molecule_goes_to_its_objective(module):
    batch = batches()[0]
    module.ask(batch)
    flow_map = module.flow_map.at(300.0, batch["friction"])
    x = flow_map.start(batch["positions"], batch["normal"])
    none = torch.zeros(4).double()
    norm = ThermalNorm(flow_map, none)
    sample = flow_map.constant(batch["forces"][:4])
    found = matching_residual(flow_map, none, x[:4], sample, norm).mean()
    assert module.parts["local"] == (pytest.approx(float(found), rel=1e-4), 4)
    h = batch["lag"]
    for name, part, teacher in (
        ("anchor", slice(0, 3), MeanPointMap(flow_map)),
        ("semigroup", slice(3, None), flow_map),
    ):
        left, right = (
            Increment.from_whitened(flow_map.basis, 0.5 * h[part], batch[side][part])
            for side in ("left", "right")
        )
        found = semigroup_residual(
            flow_map, teacher, 0 * h[part], 0.5 * h[part], h[part], x[4:][part], left, right,
            ThermalNorm(flow_map, h[part]),
        )  # fmt: skip
        value, size = module.parts[name]
        assert size == len(h[part]) and value == pytest.approx(float(found.mean()), rel=1e-3)


def test_rollouts_go_on_from_the_ends_of_the_teacher(module):
    # A batch none of whose few atoms happens to be too hot after the step.
    batch = batches()[1]
    slots = batch["slots"]
    module.ask(batch)
    ages = module.objective.ages
    assert ages[slots].tolist() == [1, 1, 1, 1] and int(ages.sum()) == 4
    flow_map = module.teacher.at(300.0, batch["friction"])
    x = flow_map.start(batch["positions"], batch["normal"])[4:][3:7]
    h = batch["lag"][3:7]
    halves = [
        Increment.from_whitened(flow_map.basis, 0.5 * h, batch[side][3:7])
        for side in ("left", "right")
    ]
    with torch.no_grad():
        mean = composed_mean(flow_map, flow_map, 0 * h, 0.5 * h, h, x, *halves)
        end = flow_map.sde.apply(0 * h, h, x, mean, join(*halves))
    assert torch.allclose(module.objective.rollouts[slots], end, atol=1e-5)
    # The next batch with these slots starts where the rollouts are.
    starts = module.objective.starts(flow_map.start(batch["positions"], batch["normal"])[4:], batch)
    assert torch.equal(starts[3:7], module.objective.rollouts[slots])
    # ... unless chance or damage says otherwise
    batch["restart"] = torch.tensor([True, False, False, False])
    fresh = flow_map.start(batch["positions"], batch["normal"])[4:]
    starts = module.objective.starts(fresh, batch)
    assert torch.equal(starts[3], fresh[3]) and int(module.objective.ages[slots[0]]) == 0
    broken = module.objective.rollouts[slots].clone()
    # Not finite, one atom too fast, all too hot: widths are sqrt(kT/m), at most 1.6 nm/ps.
    broken[:, 1] = 0.0
    broken[1, 0, 0, 0], broken[2, 1, 1, 0], broken[3, 1] = float("nan"), 10.0, 3.0
    watched = module.objective.keep(flow_map, broken, slots)
    assert (module.objective.ages[slots] == 0).tolist() == [False, True, True, True]
    assert float(watched["rollouts/broken"][0]) == 0.75
    assert bool(module.objective.rollouts.isfinite().all())


def test_mean_flow_takes_the_last_molecules_and_their_forces(module):
    changed = SETTINGS["objective"] | {"mean_flow_share": 0.6}
    batch = batches(TrainingConfig(**SETTINGS | {"objective": changed}))[0]
    m = batch["mean_flow"]
    assert m == 3
    module.ask(batch)
    flow_map = module.flow_map.at(300.0, batch["friction"])
    x = flow_map.start(batch["positions"], batch["normal"])[-m:]
    h = batch["lag"][-m:]
    halves = (
        Increment.from_whitened(flow_map.basis, 0.5 * h, batch[side][-m:])
        for side in ("left", "right")
    )
    n = flow_map.constant(batch["forces"][-m:])
    norm = ThermalNorm(flow_map, h)
    found = mean_flow_residual(flow_map, torch.zeros_like(h), h, x, n, join(*halves), norm)
    value, size = module.parts["mean_flow"]
    assert size == m and value == pytest.approx(float(found.mean()), rel=1e-3)
    assert module.parts["semigroup"][1] == 9 - m


def test_no_gradient_passes_the_teacher_or_the_rollouts(module):
    module.ask(batches()[0]).mean().backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    assert module.flow_map.network.last.grad.abs().max() > 0
    assert not module.objective.rollouts.requires_grad


def test_first_steps_are_force_matching_alone(module):
    module.ask(batches(first=0)[0])
    assert set(module.parts) == {"local"}
    assert module.parts["local"][1] == 16 and int(module.objective.ages.sum()) == 0


def test_an_overdamped_map_is_trained_alike():
    changed = {name: value for name, value in SETTINGS["objective"].items() if name != "frictions"}
    kind = {**SETTINGS["map"], "kind": "overdamped"}
    config = TrainingConfig(**SETTINGS | {"map": kind, "objective": changed})
    flow_map = random_dynamics("overdamped", scales=SCALES).float()
    module = Probe(DynamicsObjective(flow_map, config.objective), flow_map)
    batch = batches(config)[0]
    for side in ("left", "right"):
        batch[side] = batch[side][..., :3]
    module.ask(batch).mean().backward()
    assert module.objective.rollouts.shape == (6, 5, 3) and int(module.objective.ages.sum()) == 4
    assert module.flow_map.network.last.grad.abs().max() > 0
