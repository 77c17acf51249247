"""Steps along stored paths: where they begin and end, what drives them, and what they teach."""

import pytest
import torch
from langevin_maps import SCALES, random_dynamics
from probe import Probe
from tiny_training import DYNAMICS_WORDS, add_free_paths, add_springs, write_training_set

from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.data.dataset import load_training_data
from molflow.data.paths import PathData, PathPart, load_paths
from molflow.errors import MolflowError
from molflow.maps.dynamics.batches import DynamicsBatches
from molflow.maps.dynamics.objective import DynamicsObjective, path_target
from molflow.maps.dynamics.thermal_norm import ThermalNorm
from molflow.maps.langevin.path_steps import PathSteps
from molflow.maps.langevin.residual_fit import fit_residual_noise
from molflow.nn.graph import MolecularGraph
from molflow.objectives.matching import direct_residual
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import TrainingConfig, load_configuration
from molflow.training.fit import Epoch
from molflow.training.run import train

SYSTEM = "alanine_dipeptide"
GRAPH = MolecularGraph.from_topology(load_system(SYSTEM).topology())
DIRECT = {"local_steps": 0, "local_share": 0.25, "anchor_share": 0.25, "rollouts": 4,
          "direct_share": 0.6}  # fmt: skip
CONFIG = TrainingConfig(
    batch_size=16, map={"kind": "langevin", "order": 3, "longest_lag": 0.02}, objective=DIRECT
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths") / "data"
    return add_free_paths(add_springs(write_training_set(folder, SYSTEM)))


@pytest.fixture(scope="module")
def paths(data):
    return load_paths(load_training_data(data))


def few_atoms(paths, atoms=5):
    """The same paths of the first atoms, whose masses are others: forces are not zero then."""
    parts = []
    for part in paths.train:
        rows = {name: torch.from_numpy(part.rows[name].copy()) for name in ("states", "noise")}
        rows = {"states": rows["states"][..., :atoms, :], "noise": rows["noise"][:, :, :atoms]}
        parts.append(PathPart(part.friction, Records({k: v.numpy() for k, v in rows.items()})))
    return PathData(paths.order, paths.block, tuple(parts), (), "few")


class Records:
    """As much of an array of records as `PathSteps` needs."""

    def __init__(self, fields):
        self.fields = fields
        noise = fields["noise"]
        self.dtype = {"noise": type("Field", (), {"shape": noise.shape[1:]})}

    def __len__(self):
        return len(self.fields["noise"])

    def __getitem__(self, key):
        return self.fields[key] if isinstance(key, str) else Records(
            {name: values[key] for name, values in self.fields.items()}
        )


def test_steps_are_those_of_the_path(data, paths):
    """Without a force the mean force that takes the start to the end is zero, for all lengths."""
    masses = load_training_data(data).manifest["dynamics"]["masses"]
    scales = {**SCALES.to_dict(), "masses": masses, "forces": [500.0] * 22}
    flow_map = random_dynamics(scales=type(SCALES)(**scales))
    steps = PathSteps(paths, 0.017)
    assert steps.most == 3
    seen = set()
    for seed in range(4):
        batch = steps.draw(9, torch.Generator().manual_seed(seed))
        own = flow_map.at(300.0, batch["friction"])
        mean = path_target(own, batch)
        error = ThermalNorm(own, batch["path_lag"])(mean, mean, None)
        assert float(error.max()) < 1e-8  # the rounding of positions on the disk
        wrong = path_target(own.at(300.0, 1.1 * batch["friction"]), batch)
        assert float(ThermalNorm(own, batch["path_lag"])(wrong, wrong, None).min()) > 1e-6
        blocks = (batch["path_lag"] / 0.005).round().int().tolist()
        assert blocks == [1, 1, 1, 2, 2, 2, 3, 3, 3]
        seen.add(batch["friction"])
    assert seen == {1.0, 4.0}
    assert steps.has(0.02) and not steps.has(0.012) and not steps.has(0.025)


def test_a_lag_shorter_than_a_block_is_a_sentence(paths):
    with pytest.raises(MolflowError, match="stored in blocks of 0.005 ps"):
        PathSteps(paths, 0.004)


def batches(paths, number=1):
    generator = torch.Generator().manual_seed(0)
    positions, forces = 0.15 * torch.randn(2, 20, 5, 3, generator=generator)
    steps = PathSteps(few_atoms(paths), 0.02)
    return DynamicsBatches(positions, 1000 * forces, 4, CONFIG, 2.0, Epoch(0, 0, 3), steps)[number]


def test_a_batch_with_paths_follows_from_seed_and_number(paths):
    one, same, other = batches(paths), batches(paths), batches(paths, 2)
    for name, value in one.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(same[name]))
    assert not torch.equal(one["path_start"], other["path_start"])
    assert (one["local"], one["anchored"], len(one["lag"])) == (4, 3, 7)
    assert len(one["path_lag"]) == 5 and len(one["positions"]) == 11
    # What is shorter than a block is left to the semigroup.
    assert float(one["lag"].max()) <= 0.005 and float(one["path_lag"].max()) == 0.02
    assert one["friction"] in (1.0, 4.0)


def test_the_error_of_a_batch_is_that_of_its_paths(paths):
    flow_map = random_dynamics().float()
    module = Probe(DynamicsObjective(flow_map, CONFIG.objective), flow_map)
    batch = batches(paths)
    module.ask(batch)
    flow_map = module.flow_map.at(300.0, batch["friction"])
    h = batch["path_lag"]
    increment = Increment.from_whitened(flow_map.basis, h, batch["path_noise"])
    found = direct_residual(
        flow_map, 0 * h, h, batch["path_start"], increment, batch["path_end"],
        ThermalNorm(flow_map, h),
    )  # fmt: skip
    value, size = module.parts["direct"]
    assert size == 5 and value == pytest.approx(float(found.mean()), rel=1e-3)
    assert {name: size for name, (_, size) in module.parts.items()} == {
        "local": 4, "anchor": 3, "semigroup": 4, "direct": 5,
    }  # fmt: skip


def test_noise_of_blocks_is_joined_in_order(paths):
    steps, part = PathSteps(paths, 0.02), paths.train[1]
    at = [torch.tensor([value]) for value in (2, 1, 3)]
    whole = steps.steps(part, *at)["path_noise"]
    flow_map = random_dynamics().at(300.0, part.friction)
    block, joined = torch.tensor(0.005).double(), None
    for k in (1, 2, 3):
        z = torch.from_numpy(part.rows["noise"][2:3, k].astype(float))
        one = Increment.from_whitened(flow_map.basis, block, z)
        joined = one if joined is None else join(joined, one)
    assert torch.allclose(whole.double(), joined.whitened(), atol=1e-5)


def run(data, out, *words, **options):
    empty = out.with_suffix(".yaml")
    empty.write_text("{}")
    words = [*DYNAMICS_WORDS, "objective.direct_share=0.6", "objective.validation_lags=[0.01]",
             *words]  # fmt: skip
    return train(SYSTEM, data, out, config=empty, overrides=words, progress=False, **options)


def test_a_run_with_paths_in_two_parts_ends_where_one_in_one_does(data, tmp_path):
    whole = load_checkpoint(run(data, tmp_path / "whole", "steps=6"))
    rows = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    assert {"loss/direct", "val/path@10fs"} <= set(rows[0].split(","))
    run(data, tmp_path / "parts", "steps=3", "learning_rate_decay=0")
    parts = load_checkpoint(run(data, tmp_path / "parts", "steps=6", "learning_rate_decay=3"))
    assert parts.weights_hash == whole.weights_hash


def test_what_does_not_go_with_paths_is_a_sentence(data, tmp_path):
    with pytest.raises(MolflowError, match="map.order is 2, and the paths .* 3 coefficients"):
        run(data, tmp_path / "run", "map.order=2")
    with pytest.raises(MolflowError, match="anchor ends at 0.006 ps, .* blocks of 0.005 ps"):
        run(data, tmp_path / "anchored", "objective.anchor=[0.001,0.006]")
    for words, wrong in (
        (["map.kind=overdamped"], "whose paths have inertia"),
        (["map.kind=langevin", "objective.frictions=[1.0,2.0]"], "those of the paths"),
    ):
        with pytest.raises(MolflowError, match=wrong):
            load_configuration(overrides=["objective.direct_share=0.5", *words])
    bare = add_springs(write_training_set(tmp_path / "bare", SYSTEM))
    with pytest.raises(MolflowError, match="no paths under the true force"):
        run(bare, tmp_path / "without")


def test_a_run_with_paths_learns_the_covariance_of_what_it_misses(data, tmp_path):
    """Without a force the map misses minus what its network says, here of one step."""
    folder = run(data, tmp_path / "run", "steps=2", "network.layers=1")
    checkpoint = load_checkpoint(folder)
    noise, paths = checkpoint.residual, load_paths(load_training_data(data))
    assert noise.block == 0.005 and noise.by_map.shape == (2, 132, 132)
    part = paths.validation[0]
    flow_map = checkpoint.flow_map.at(300.0, part.friction)
    steps, rows = PathSteps(paths, 0.01), torch.arange(5).repeat_interleave(2)
    batch = steps.steps(part, rows, torch.tensor([0, 2] * 5), torch.full((10,), 2))
    h = batch["path_lag"]
    said = flow_map.mean(0 * h, h, batch["path_start"], batch["path_noise"])
    gain = flow_map.sde.gain(0 * h, h).diagonal(dim1=-2, dim2=-1)[..., None, None]
    total = (gain * said).flatten(1).square().sum(1).mean()
    assert float(noise.by_map[1].diagonal().sum()) == pytest.approx(float(total), rel=1e-3)
    assert not noise.by_noise.any()  # all validation paths have one friction
    again = fit_residual_noise(checkpoint.flow_map, steps, GRAPH)
    assert torch.equal(again.by_map, noise.by_map)
    (folder / "residual.safetensors").write_bytes(b"")
    with pytest.raises(MolflowError, match=r"residual.safetensors is missing or not the file"):
        load_checkpoint(folder)
