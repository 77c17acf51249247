"""Whole runs of `train`, a second each."""

import csv
import json
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from tiny_training import SYSTEM, WORDS, write_training_set

import molflow
from molflow.brownian.increment import sample_increment
from molflow.data.dataset import data_hash
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, sha256_of, write_arrays, write_json
from molflow.systems import systems_folder
from molflow.training.checkpoint import load_checkpoint
from molflow.training.module import FlowMapTraining
from molflow.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")


def run(data, out, words=()):
    return train(SYSTEM, data, out, overrides=[*WORDS, *words], progress=False)


@pytest.fixture(scope="module")
def finished(training_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    assert run(training_set, out) == out / "checkpoint"
    return out


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that makes the training step raise after so many calls."""
    original = FlowMapTraining.training_step

    def arrange(calls, error=KeyboardInterrupt):
        left = [calls]

        def step(self, *arguments):
            if not left[0]:
                raise error
            left[0] -= 1
            return original(self, *arguments)

        monkeypatch.setattr(FlowMapTraining, "training_step", step)
        return lambda: monkeypatch.setattr(FlowMapTraining, "training_step", original)

    return arrange


def test_a_system_is_named_by_its_folder_too(training_set, tmp_path):
    with pytest.raises(MolflowError, match="another ensemble|of the system"):
        train(systems_folder() / "aspirin", training_set, tmp_path / "run", progress=False)


def metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def description(folder):
    text = json.loads((folder / "checkpoint" / "model.json").read_text())
    record = text["record"]
    del record["seconds"]
    for row in record["curves"]:
        del row["seconds"]
    return text


def test_a_run_leaves_what_it_promises(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"checkpoint", "config.yaml", "metrics.csv", "state", "tensorboard"}
    assert [p.name for p in (finished / "state").iterdir()] == ["last.safetensors"]
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))
    assert "batch_size: 6" in (finished / "config.yaml").read_text()


def test_without_tensorboard_the_metrics_are_the_same(
    finished, training_set, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("molflow.training.fit.find_spec", lambda name: None)
    with caplog.at_level("INFO", logger="molflow"):
        run(training_set, tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(finished)
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert "pip install 'molflow[tensorboard]'" in caplog.text


def test_metrics_have_a_row_per_epoch(finished):
    rows = metrics(finished)
    assert [row["step"] for row in rows] == ["3", "6", "8"]
    for row in rows:
        assert float(row["loss/local"]) > 0 and float(row["loss/semigroup"]) >= 0
    # Validated after the second epoch, at each number of network calls, and only then.
    scores = [name for name in rows[0] if name.startswith("val/")]
    assert {"val/fes_rmse@1", "val/fes_rmse@2"} <= set(scores)
    assert all((row["val/fes_rmse@1"] != "") == (row["step"] == "6") for row in rows)


def test_the_checkpoint_is_the_averaged_map_and_says_where_it_comes_from(finished, training_set):
    checkpoint = load_checkpoint(finished)
    manifest = json.loads((training_set / "manifest.json").read_text())
    told = checkpoint.description
    for key in ("system", "ensemble", "ensemble_hash", "data_hash", "split"):
        assert told[key] == manifest[key]
    assert checkpoint.scale == manifest["scale"]
    assert told["record"]["steps"] == 8 and told["record"]["frames"] == 40
    assert len(told["record"]["curves"]) == 3
    assert told["weights_sha256"] == sha256_of(finished / "checkpoint" / "model.safetensors")
    assert [atom.name for atom in checkpoint.topology().atoms] == ["C", "N", "CA", "CB", "C", "N"]
    last = checkpoint.flow_map.network.last
    assert last.abs().max() > 0  # zero at the start, so something was learned


def test_the_same_call_again_changes_nothing(finished, training_set):
    before = {path: sha256_of(path) for path in finished.glob("*/*.safetensors")}
    assert run(training_set, finished) == finished / "checkpoint"
    assert {path: sha256_of(path) for path in finished.glob("*/*.safetensors")} == before
    assert len(metrics(finished)) == 3


def test_a_run_is_reproducible_and_depends_on_its_seed(finished, training_set, tmp_path):
    torch.manual_seed(123)
    np.random.seed(5)
    again = run(training_set, tmp_path / "again")
    weights = (finished / "checkpoint" / "model.safetensors").read_bytes()
    assert (again / "model.safetensors").read_bytes() == weights
    other = run(training_set, tmp_path / "other", ["seed=1"])
    assert (other / "model.safetensors").read_bytes() != weights


@pytest.mark.parametrize("calls", [3, 5, 7])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    finished, training_set, tmp_path, stop_after, calls
):
    """Stopped between, or in the middle of, epochs, in one case moved, and resumed."""
    out = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    go_on = stop_after(calls)
    with pytest.raises(KeyboardInterrupt):
        run(training_set, out)
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_checkpoint(out).description["record"]["steps"] == 3 * (calls // 3)
    go_on()
    if calls == 5:
        out = out.rename(tmp_path / "moved")
    run(training_set, out)
    for name in ("checkpoint/model.safetensors", "checkpoint/topology.pdb", "config.yaml"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    assert metrics(out) == metrics(finished)
    assert description(out) == description(finished)
    assert [p.name for p in (out / "state").iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_a_run_and_spoils_nothing(
    training_set, tmp_path, finished, monkeypatch, factor
):
    original, calls = FlowMapTraining.training_step, []

    def step(self, *arguments):
        calls.append(1)
        loss = original(self, *arguments)
        return loss * factor if len(calls) == 5 else loss

    monkeypatch.setattr(FlowMapTraining, "training_step", step)
    with pytest.raises(MolflowError, match="gradient of step 5 is not finite: training ended"):
        run(training_set, tmp_path / "run")
    assert [row["step"] for row in metrics(tmp_path / "run")] == ["3"]
    run(training_set, tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(finished)
    weights = "checkpoint/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (finished / weights).read_bytes()


def test_a_failure_is_not_taken_for_an_interruption(training_set, tmp_path, stop_after):
    stop_after(1, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        run(training_set, tmp_path / "run")


def test_a_damaged_state_is_a_sentence(training_set, tmp_path, stop_after):
    stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        run(training_set, tmp_path / "run")
    (tmp_path / "run" / "state" / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(MolflowError, match="the training state .* is damaged"):
        run(training_set, tmp_path / "run")


def test_a_folder_keeps_one_run(finished, training_set, tmp_path):
    with pytest.raises(MolflowError, match="other settings, data or start"):
        run(training_set, finished, ["learning_rate=0.5"])
    other = write_training_set(tmp_path / "other", seed=1)
    with pytest.raises(MolflowError, match="other settings, data or start"):
        run(other, finished)


def test_data_of_another_system_or_ensemble_are_refused(tmp_path):
    heavy = write_training_set(tmp_path / "heavy", "alanine_dipeptide:heavy")
    with pytest.raises(MolflowError, match="the data are of the system 'alanine_dipeptide:heavy'"):
        run(heavy, tmp_path / "run")
    hot = write_training_set(tmp_path / "hot", ensemble_hash="0123456789abcdef")
    with pytest.raises(MolflowError, match="another ensemble .0123456789abcdef."):
        run(hot, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_of_settings_is_used_and_checked(training_set, tmp_path):
    (tmp_path / "wrong.yaml").write_text("network: {depth: 3}\n")
    with pytest.raises(MolflowError, match="'network.depth' = 3"):
        train(SYSTEM, training_set, tmp_path / "run", config=tmp_path / "wrong.yaml")
    assert not (tmp_path / "run").exists()


def test_progress_is_shown_on_demand(training_set, tmp_path, capsys):
    train(SYSTEM, training_set, tmp_path / "run", overrides=[*WORDS, "steps=1"], progress=True)
    assert "Epoch" in capsys.readouterr().out


def test_more_steps_may_be_asked_for_before_the_final_decay(training_set, tmp_path, stop_after):
    longer = ["steps=11"]
    whole = run(training_set, tmp_path / "whole", longer)
    go_on = stop_after(5)
    with pytest.raises(KeyboardInterrupt):
        run(training_set, tmp_path / "run")
    go_on()
    extended = run(training_set, tmp_path / "run", longer)
    name = "model.safetensors"
    assert (extended / name).read_bytes() == (whole / name).read_bytes()
    assert "steps: 11" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("words", [["steps=11"], ["steps=4"], ["learning_rate_decay=1"]])
def test_the_length_of_a_run_is_fixed_once_its_decay_has_begun(finished, training_set, words):
    with pytest.raises(MolflowError, match="has trained 8 steps, and with steps = 8 or .* falls"):
        run(training_set, finished, words)
    assert "steps: 8" in (finished / "config.yaml").read_text()


def test_a_compiled_run_follows_the_plain_one(finished, training_set, tmp_path, monkeypatch):
    """Traced and run operation by operation: writing machine code would take minutes."""
    compiled = []

    def compile_in_place(self, **settings):
        compiled.append(settings)
        self._compiled_call_impl = torch.compile(self._call_impl, backend="aot_eager", **settings)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_in_place)
    words = [*WORDS, "steps=3"]
    plain = train(SYSTEM, training_set, tmp_path / "plain", overrides=words, progress=False)
    made = train(
        SYSTEM, training_set, tmp_path / "made", overrides=words, compiled=True, progress=False
    )
    assert compiled == [{"dynamic": False}] * 2
    plain, made = (load_checkpoint(path).flow_map.state_dict() for path in (plain, made))
    assert plain.keys() == made.keys()
    for name, weight in plain.items():
        assert torch.allclose(weight, made[name], rtol=1e-3, atol=1e-4), name


def test_a_training_set_may_have_no_validation_frames(tmp_path):
    data = write_training_set(tmp_path / "data", validation=0)
    run(data, tmp_path / "run")
    assert [row["step"] for row in metrics(tmp_path / "run")] == ["3", "6", "8"]
    assert not any(name.startswith("val/") for name in metrics(tmp_path / "run")[0])


def test_a_run_can_start_from_a_checkpoint(finished, training_set, tmp_path):
    before = load_checkpoint(finished)
    again = tmp_path / "again"
    # A learning rate that moves nothing: the weights are those it started from.
    words = [*WORDS, "learning_rate=1e-30", "seed=5"]
    train(SYSTEM, training_set, again, overrides=words, start=finished, progress=False)
    after = load_checkpoint(again)
    for (name, old), new in zip(
        before.flow_map.state_dict().items(), after.flow_map.state_dict().values(), strict=True
    ):
        assert torch.equal(old, new), name
    start = after.description["record"]["start"]
    assert start["weights_sha256"] == before.weights_hash and start["record"]["steps"] == 8
    # Without it, or from other weights, it is another run.
    with pytest.raises(MolflowError, match="other settings, data or start"):
        train(SYSTEM, training_set, again, overrides=words, progress=False)


def test_a_map_of_the_probability_flow_does_not_depend_on_the_path(
    finished, training_set, tmp_path
):
    """It can start from the weights of a strong map with as many features."""
    out = tmp_path / "flow"
    words = [*WORDS, "map.eta=0", "map.order=3"]
    train(SYSTEM, training_set, out, overrides=words, start=finished, progress=False)
    checkpoint = load_checkpoint(out)
    flow_map, basis = checkpoint.flow_map, load_checkpoint(finished).flow_map.basis
    assert flow_map.basis.size == basis.size == 3
    s, t, generator = torch.full((2,), 0.3), torch.full((2,), 2.0), torch.Generator().manual_seed(0)
    x = torch.randn(2, checkpoint.n_atoms, 3, generator=generator)
    ends = [
        flow_map(s, t, x, sample_increment(flow_map.basis, t - s, x.shape, generator))
        for _ in range(2)
    ]
    assert torch.equal(*ends) and (ends[0] - x).abs().max() > 0.1


@pytest.mark.parametrize("word", ["network.layers=2", "map.order=3", "map.eta=0"])
def test_a_start_that_does_not_fit_is_told(word, finished, training_set, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(MolflowError, match=word.partition("=")[0].partition(".l")[0]):
        train(SYSTEM, training_set, out, overrides=[*WORDS, word], start=finished, progress=False)
    assert not out.exists()


def test_a_start_of_another_molecule_is_told(finished, tmp_path):
    label = "alanine_dipeptide:heavy"
    data = write_training_set(tmp_path / "data", label)
    with pytest.raises(MolflowError, match="not the one to be trained"):
        train(label, data, tmp_path / "run", overrides=WORDS, start=finished, progress=False)


def test_a_run_begun_before_a_key_was_there_goes_on(training_set, finished, tmp_path):
    """The key has its default then, here the kind of the network."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    stored = yaml.safe_load((out / "config.yaml").read_text())
    assert stored["training"]["network"].pop("kind") == "dense"
    (out / "config.yaml").write_text(yaml.safe_dump(stored))
    run(training_set, out)
    stored["training"]["network"]["layers"] = 2
    (out / "config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(MolflowError, match="other settings"):
        run(training_set, out)


@pytest.mark.parametrize(
    "words",
    [
        ["kind=sparse", "scalars=8", "vectors=4", "heads=2", "layers=1", "neighbours=3"],
        ["kind=tensor_product", "irreps=4x0e + 4x1e + 2x2e", "layers=1", "neighbours=3"],
    ],
)
def test_other_networks_train_sample_and_load(training_set, tmp_path, words):
    rest = [word for word in WORDS if not word.startswith("network.")]
    overrides = [*rest, *(f"network.{word}" for word in words), "network.recompute=true"]
    folder = train(SYSTEM, training_set, tmp_path / "run", overrides=overrides, progress=False)
    flow_map = load_checkpoint(folder).flow_map
    assert f"kind={flow_map_kind(folder)}" == words[0]
    # The data's distances were looked at, and the weights moved.
    assert 0.1 < float(flow_map.network.own_mean.mean()) < 5.0
    assert flow_map.network.last.abs().max() > 0
    ensemble = molflow.sample(folder, steps=2, n=3, progress=False)
    assert ensemble.n_frames == 3 and np.isfinite(ensemble.xyz).all()


def flow_map_kind(folder):
    return json.loads((folder / "model.json").read_text())["configuration"]["network"]["kind"]


def test_weighted_frames_are_another_run(finished, training_set, tmp_path):
    """All weight on two frames: the weights of the network are others, and the folder is claimed
    by the weights of the frames too."""
    data = tmp_path / "data"
    shutil.copytree(training_set, data)
    manifest, hashes = read_json(data / "manifest.json"), {}
    for name in ("train", "validation"):
        positions = read_arrays(data / f"{name}.npz")["positions"]
        logs = np.where(np.arange(len(positions)) < 2, 0.0, -30.0)
        write_arrays(data / f"{name}.npz", positions=positions, log_weights=logs)
        hashes[name] = data_hash(logs)
    write_json(data / "manifest.json", manifest | {"weights_sha256": hashes})
    checkpoint = load_checkpoint(run(data, tmp_path / "run"))
    assert checkpoint.weights_hash != load_checkpoint(finished).weights_hash
    stored = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert stored["data_hash"] == f"{manifest['data_hash']}-{hashes['train']}"
    with pytest.raises(MolflowError, match="holds a training run with other"):
        run(training_set, tmp_path / "run")
