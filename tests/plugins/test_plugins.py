"""An installed package adds one of each kind of thing, a file each; the verbs find them."""

import sys
from pathlib import Path

import pytest

import molflow
from molflow.analysis.metrics.registry import list_metrics
from molflow.checking.registry import CHECKS
from molflow.errors import MolflowError
from molflow.nn.registry import NETWORKS
from molflow.objectives.registry import OBJECTIVES
from molflow.training.checkpoint import load_checkpoint
from molflow.training.kinds import MAPS

PACKAGE = Path(__file__).parent / "package"
sys.path.append(str(Path(__file__).parents[1] / "training"))
sys.path.append(str(Path(__file__).parents[1] / "analysis"))


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(PACKAGE)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from tiny_training import write_training_set

    return write_training_set(tmp_path_factory.mktemp("plug") / "data")


def train(data, out, *words):
    from tiny_training import SYSTEM

    words = [
        "steps=3", "steps_per_epoch=3", "batch_size=6", "objective.local_steps=1",
        "validate_every=1", "validation_samples=64", "validation_nfe=[1]", *words,
    ]  # fmt: skip
    (data.parent / "none.yaml").write_text("{}")
    return molflow.train(SYSTEM, data, out, data.parent / "none.yaml", words, progress=False)


def test_a_map_a_network_and_an_objective_are_trained_and_sampled(data, tmp_path):
    folder = train(data, tmp_path / "run", "map.kind=plug", "objective.family=plug")
    checkpoint = load_checkpoint(folder)
    assert type(checkpoint.flow_map).__name__ == "PlugFlowMap"
    assert type(checkpoint.flow_map.network).__name__ == "PlugNetwork"
    assert checkpoint.flow_map.network.first.shape == (4, 3)  # the network of that kind of map
    assert float(checkpoint.flow_map.network.last.abs().max()) > 0.0
    assert molflow.sample(folder, steps=2, n=3, progress=False).n_frames == 3
    assert molflow.sample(folder, steps=2, n=3, flow=True, progress=False).n_frames == 3
    with pytest.raises(MolflowError, match="eta is 0.5, .* a kind of map that has none"):
        molflow.sample(folder, steps=2, n=3, eta=0.5, progress=False)
    with pytest.raises(MolflowError, match="samples from noise: use molflow sample"):
        checkpoint.check_use("propagate")


def test_a_network_is_trained_in_a_map_of_ours(data, tmp_path):
    words = "network.kind=plug", "network.width=2", "map.order=2"
    network = load_checkpoint(train(data, tmp_path / "run", *words)).flow_map.network
    assert network.first.shape == (4, 2)


def test_what_a_kind_of_map_does_not_offer_is_a_sentence(data, tmp_path):
    words = "map.kind=plug", "objective.family=consistency_model"
    with pytest.raises(MolflowError, match="needs a last time, which the equation of map.kind"):
        train(data, tmp_path / "run", *words)


def test_a_metric_is_compared_and_listed(tmp_path):
    from synthetic import reference, trajectory

    reference(frames=1500).save(tmp_path / "ref")
    made = trajectory(100, seed=9)
    made.save_dcd(str(tmp_path / "ensemble.dcd"))
    made[:1].save_pdb(str(tmp_path / "topology.pdb"))
    found = molflow.compare(tmp_path / "ensemble.dcd", tmp_path / "ref", exact_transport=False)
    row = found["metrics"]["plug_bond_shift"]
    assert 0.0 < row["value"] < 0.05 and row["unit"] == "nm"
    assert "plug_bond_shift" in {row["name"] for row in list_metrics()}


def test_a_check_is_made(monkeypatch):
    # The others take their time; those installed are found by the same registry.
    monkeypatch.setattr(CHECKS, "_built_in", {})
    result = molflow.check("alanine_dipeptide:beads5", steps=1, n=4, progress=False)
    (finding,) = result["findings"]
    assert finding["name"] == "plug" and finding["verdict"] == "pass" == result["verdict"]


def test_names_that_are_not_there_are_told_with_those_that_are():
    for registry in (MAPS, NETWORKS, OBJECTIVES, CHECKS):
        assert "plug" in registry
        with pytest.raises(MolflowError, match=r"choose one of .*plug"):
            registry["plugg"]
