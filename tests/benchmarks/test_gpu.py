"""The measurements of a GPU, rehearsed on the processor where neither OpenMM nor mdtraj are."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from molflow.data.dataset import data_hash
from molflow.files import read_arrays, read_json, write_arrays, write_json
from molflow.systems import load_system

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"
#: What the README of the measurements says may be missing.
ABSENT = ("openmm", "mdtraj", "deeptime", "ot", "cyclopts", "dask", "distributed", "rdkit", "gemmi")
BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"{{name}} is absent")

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def gpu(monkeypatch):
    """Return a module of the measurements by name."""
    for folder in (GPU.parent, GPU):
        monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module


def test_all_parts_run_without_what_may_be_absent(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    root = GPU.parents[1]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    words = ["--quick", "--device", "cpu", "--out", tmp_path]
    parts = ["sampling", "training", "propagation", "large"]
    done = subprocess.run(
        [sys.executable, GPU / "figures.py", *words, "--parts", *parts],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert list(results["summary"]) == parts and results["machine"]["device"] == "cpu"
    failed = {
        (part, name): row["failed"]
        for part, rows in results["summary"].items()
        for name, row in rows.items()
        if "failed" in row
    }  # fmt: skip
    # Of all that is measured only the graphs ask for a GPU.
    assert all(name.endswith("graph") for _, name in failed), failed
    sampling, walks = results["summary"]["sampling"], results["summary"]["propagation"]
    assert sampling["64, float32"]["largest_nm"] == 0.0
    assert 0.0 < sampling["64, bf16"]["rms_nm"] < 0.1
    assert all(row["finite"] for row in walks.values())
    one = walks["1, float32"]
    assert one["ns_a_day"] == pytest.approx(0.02e-3 * 86400 / one["seconds_of_a_step"])
    assert done.stdout.count("\n") >= sum(map(len, results["summary"].values()))


def test_the_shipped_map_is_trained_on_with_weighted_frames_without_openmm(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "training"))
    data = importlib.import_module("tiny_training").write_training_set(
        tmp_path / "data", "alanine_dipeptide"
    )
    weights = np.linspace(-3.0, 0.0, 40)
    frames = read_arrays(data / "train.npz")["positions"]
    write_arrays(data / "train.npz", positions=frames, log_weights=weights)
    told = {"weights_sha256": {"train": data_hash(weights)}}
    write_json(data / "manifest.json", read_json(data / "manifest.json") | told)
    (tmp_path / "sitecustomize.py").write_text(BLOCK.replace("'mdtraj', ", ""))
    paths = os.pathsep.join([str(tmp_path), str(GPU.parents[1])])
    words = ["--data", data, "--out", tmp_path, "--device", "cpu", "--plain", "batch_size=8"]
    sizes = ["steps=2", "steps_per_epoch=1", "validate_every=2", "validation_samples=4"]
    done = subprocess.run(
        [sys.executable, GPU / "train.py", *words, *sizes],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    assert done.stdout.startswith("2 steps, ") and "val/fes_rmse@8" in done.stdout
    assert (tmp_path / "run" / "state" / "last.safetensors").exists()
    told = read_json(tmp_path / "training.json")["summary"]
    assert told["steps"] == 2 and told["batch"] == 8 and told["seconds_of_a_step"] > 0
    made = read_json(tmp_path / "run" / "checkpoint" / "model.json")
    shipped = read_json(GPU.parents[1] / "systems/alanine_dipeptide/checkpoint/model.json")
    assert made["record"]["start"]["weights_sha256"] == shipped["weights_sha256"]
    told, before = made["configuration"]["map"], shipped["configuration"]["map"]
    assert {name: told[name] for name in before} == before


def test_one_map_is_trained_on_several_molecules_in_batches_of_few(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "training"))
    write_training_set = importlib.import_module("tiny_training").write_training_set
    (tmp_path / "data").mkdir()
    for name, system in (("ala", "alanine_dipeptide_amber14"), ("pro", "proline_dipeptide")):
        place = tmp_path / "systems" / f"ace_{name}_nme"
        shutil.copytree(GPU.parents[1] / "systems" / system, place)
        named = load_system(place).label
        write_training_set(tmp_path / "data" / name, str(place), system=named)
    words = ["--systems", tmp_path / "systems", "--data", tmp_path / "data", "--molecules"]
    words += ["ala,pro", "--of-each", "4", "--device", "cpu", "--plain", "--out", tmp_path]
    sizes = ["steps=2", "steps_per_epoch=1", "batch_size=4", "network.layers=1"]
    done = subprocess.run(
        [sys.executable, GPU / "train_many.py", *words, *sizes],
        env=os.environ | {"PYTHONPATH": str(GPU.parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    told = read_json(tmp_path / "training.json")["summary"]
    assert told["molecules"] == ["ala", "pro"] and told["steps"] == 2 and told["of_each"] == 4
    made = read_json(tmp_path / "run" / "checkpoint" / "model.json")
    assert len(made["molecules"]) == 2 and made["configuration"]["network"]["kind"] == "shared"


def test_the_pages_say_what_a_captured_step_took():
    told = read_json(GPU.parents[1] / "benchmarks/results/gpu_training.json")["summary"]
    captured, plain = (1e3 * told[kind]["seconds_of_a_step"] for kind in ("captured", "plain"))
    assert told["captured"]["batch"] == told["plain"]["batch"] == 1024
    page = (GPU.parents[1] / "docs/how_to/train.md").read_text(encoding="utf-8")
    assert f"took {captured:.0f} ms for a step on 1,024 molecules of 22 atoms" in page
    assert f"in place of {plain:.0f}" in page


def test_a_failure_and_the_end_of_the_time_lose_no_other_measurement(gpu, tmp_path):
    notes = gpu("notes").Notes(tmp_path / "part.json", "cpu", until=float("inf"))

    def fails():
        raise RuntimeError("no kernel\nwith details")

    notes.take("first", lambda: {"seconds": 1.0})
    notes.take("second", fails)
    notes.until = 0.0
    notes.take("third", lambda: {"seconds": 2.0})
    assert json.loads((tmp_path / "part.json").read_text()) == {
        "first": {"seconds": 1.0},
        "second": {"failed": "RuntimeError: no kernel"},
        "third": {"failed": "left out: the time was over"},
    }


def test_precisions_round_the_networks_alone_and_leave_no_trace(gpu):
    arithmetic = gpu("arithmetic")
    network = torch.nn.Linear(64, 64)
    x, before = torch.randn(8, 64), torch.get_float32_matmul_precision()
    exact = network(x)
    with arithmetic.precision("bf16", network):
        rounded = network(x)
        assert rounded.dtype == torch.float32
        # 8 binary digits of each factor
        assert 1e-4 < float((rounded - exact).detach().abs().max()) < 3e-2
    with arithmetic.precision("tf32", network):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    assert torch.equal(network(x), exact) and "forward" not in vars(network)
