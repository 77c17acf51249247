"""The training of a map that knows bonded forces: targets, rollouts, and that it learns."""

import pytest
import torch
from langevin_maps import BONDED, SCALES, random_dynamics
from probe import Probe

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.maps.dynamics.batches import DynamicsBatches
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.bonded_objective import BondedObjective
from molflow.maps.langevin.bonded_semigroup import composed_rest
from molflow.maps.langevin.curl import curl_share
from molflow.maps.langevin.path_quadrature import PathQuadratureMap
from molflow.maps.langevin.rest_norm import rest_error
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch, fit
from molflow.training.loss_weight import LossWeight
from molflow.training.optimisation import Optimisation

CONFIG = TrainingConfig(**{
    "batch_size": 16, "ema_decay": 0.9, "teacher_decay": 0.5,
    "map": {"kind": "langevin", "order": 3, "longest_lag": 0.01},
    "objective": {
        "local_steps": 2, "local_share": 0.25, "anchor_share": 0.25, "anchor": [0.0005, 0.002],
        "rollouts": 6, "rollout_share": 0.5, "rollout_length": 1000, "frictions": [1.0, 4.0],
    },
})  # fmt: skip
CHAIN = torch.tensor(
    [[0.0, 0, 0], [-0.05, 0.1, 0], [0.13, 0, 0], [0.19, 0.12, 0.04], [0.33, 0.13, 0.08]]
)


def spring(positions):
    """Return a soft force: all atoms to their middle."""
    return -2000.0 * (positions - positions.mean(1, keepdim=True))


def batch(epoch=0, config=CONFIG):
    generator = torch.Generator().manual_seed(0)
    positions = CHAIN + 0.003 * torch.randn(40, 5, 3, generator=generator)
    forces = spring(positions) + BondedForce(BONDED, 5)(positions)
    return DynamicsBatches(positions, forces, 4, config, 2.0, Epoch(epoch, 100, 3))[0]


@pytest.fixture
def module():
    flow_map = random_dynamics("bonded").float()
    return Probe(BondedObjective(flow_map, CONFIG.objective), flow_map)


def test_each_molecule_goes_to_its_objective(module):
    given = batch()
    module.ask(given)
    flow_map = module.flow_map.at(300.0, given["friction"])
    x = flow_map.start(given["positions"], given["normal"])
    masses = torch.tensor(SCALES.masses)[:, None]
    with torch.no_grad():
        said = flow_map.rest_force(given["positions"][:4]) - spring(given["positions"][:4])
        error = torch.zeros(6, 4, 5, 3)
        error[0] = said / masses
        found = rest_error(flow_map, torch.zeros(4).double(), error).mean()
        assert module.parts["local"] == (pytest.approx(float(found), rel=1e-3), 4)
        for name, part in (("anchor", slice(0, 3)), ("semigroup", slice(3, None))):
            h = given["lag"][part]
            left, right = (
                Increment.from_whitened(flow_map.basis, 0.5 * h, given[side][part])
                for side in ("left", "right")
            )
            z = join(left, right).whitened()
            if name == "anchor":
                target = PathQuadratureMap(flow_map).rest(h, x[4:][part], z)
            else:
                target = composed_rest(flow_map, h, x[4:][part], left, right)[0]
            said = flow_map.rest(h, flow_map.path(h, x[4:][part], z))
            found = rest_error(flow_map, h, said - target).mean()
            assert module.parts[name] == (pytest.approx(float(found), rel=0.02), len(h))
            assert float(found) > 1e-8


def test_the_curl_is_looked_at_where_the_first_semigroup_steps_begin():
    flow_map, given = random_dynamics("bonded").float(), batch()
    asked = CONFIG.objective.model_copy(update={"curl_share": 0.5})
    module = Probe(BondedObjective(flow_map, asked), flow_map)
    module.ask(given)
    at = flow_map.at(300.0, given["friction"])
    x, h = at.start(given["positions"], given["normal"])[7:11], given["lag"][3:7]
    halves = (
        Increment.from_whitened(flow_map.basis, 0.5 * h, given[side][3:7])
        for side in ("left", "right")
    )
    middle = at.path(h, x, join(*halves).whitened())[0]
    shares = curl_share(at, x[:, 0], middle - x[:, 0])
    assert module.parts["curl"] == (pytest.approx(shares.mean().item(), rel=0.05), 4)
    assert module.parts["curl"][0] > 0.01
    plain = Probe(BondedObjective(flow_map, CONFIG.objective), flow_map)
    plain.ask(given)
    assert module.parts == {**plain.parts, "curl": module.parts["curl"]}


def test_rollouts_go_on_from_the_ends_of_the_teacher(module):
    # A batch none of whose few atoms happens to be too hot after the step.
    given = batch(epoch=1)
    slots = given["slots"]
    module.ask(given)
    assert module.objective.ages[slots].tolist() == [1] * len(slots) and len(slots) == 4
    flow_map = module.teacher.at(300.0, given["friction"])
    x, h = flow_map.start(given["positions"], given["normal"])[4:][3:7], given["lag"][3:7]
    with torch.no_grad():
        for side in ("left", "right"):
            half = Increment.from_whitened(flow_map.basis, 0.5 * h, given[side][3:7])
            x = flow_map(0 * h, 0.5 * h, x, half)
    off = (module.objective.rollouts[slots] - x).abs().amax(dim=(0, 2, 3))
    assert off[0] < 5e-5 and off[1] < 0.03  # groups of steps are cut alike


def test_no_gradient_goes_through_the_motion_and_all_of_the_network_learns(module):
    module.ask(batch()).mean().backward()
    missing = [
        name for name, value in module.flow_map.named_parameters()
        if value.grad is None or not value.grad.any()
    ]  # fmt: skip
    assert missing == []


def test_a_soft_force_is_learned_and_long_steps_follow_it():
    """Matching alone teaches the force; the semigroup carries it to steps of 10 fs."""
    torch.manual_seed(0)
    flow_map = random_dynamics("bonded").float()
    with torch.no_grad():
        flow_map.network.last.zero_()
    generator = torch.Generator().manual_seed(1)
    positions = CHAIN + 0.003 * torch.randn(16, 5, 3, generator=generator)
    x = flow_map.start(positions, torch.randn(16, 5, 3, generator=generator))
    z = torch.randn(16, 5, 3, 4, generator=generator)
    h = torch.full((16,), 0.01).double()

    def errors():
        with torch.no_grad():
            path = flow_map.path(h, x, z)
            wanted = spring(path[0]) / flow_map.sde.masses.float()
            wrong = (flow_map.rest(h, path)[0] - wanted).square().mean() / wanted.square().mean()
            off = flow_map.rest_force(positions) - spring(positions)
            return [float(wrong), float(off.square().mean() / spring(positions).square().mean())]

    before = errors()
    config = CONFIG.model_copy(update={"batch_size": 32})
    settings = Optimisation(
        steps=100, steps_per_epoch=100, learning_rate=5e-3, learning_rate_warmup=0,
        learning_rate_decay=0, teacher_decay=0.5, gradient_clip=1e6,
    )  # fmt: skip

    def batches(epoch):
        return (batch(step, config) for step in range(epoch.count))

    objective = BondedObjective(flow_map, config.objective)
    fit(flow_map, objective, batches, settings, weight=LossWeight(CLOCK, 1e-4))
    after = errors()
    assert before[0] == pytest.approx(1.0) and before[1] == pytest.approx(1.0)
    assert after[1] < 0.5 and after[0] < 0.5
