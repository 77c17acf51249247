"""Several processes train as one would by batches as many times as large; one of them writes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import together
import torch
from tiny_training import DYNAMICS_WORDS, WORDS, add_springs, write_training_set

from molflow.errors import MolflowError
from molflow.training.checkpoint import load_checkpoint
from molflow.training.processes import Processes, find_processes

SCRIPT = str(Path(together.__file__))
CPU = torch.device("cpu")


def run(*words):
    """Run a Python program in a process of its own and return what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, whose batches are those of two joined."""
    out = tmp_path_factory.mktemp("alone")
    together.main(str(out), "10", "1", "2")
    return np.load(out / "weights.npz")


def differences(found, wanted):
    assert set(found.files) == set(wanted.files)
    return max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted.files)


def test_gradients_of_two_processes_are_those_of_one_with_both_batches(tmp_path, alone):
    assert run(SCRIPT, str(tmp_path), "10", "2", "1") == ""  # not a word of Lightning's
    found = np.load(tmp_path / "weights.npz")
    assert differences(found, alone) < 1e-14
    # Each process had batches of its own: one alone comes to other weights.
    together.main(str(tmp_path / "single"), "10", "1", "1")
    assert differences(np.load(tmp_path / "single" / "weights.npz"), alone) > 1e-3


def test_processes_that_torchrun_has_started_find_each_other(tmp_path, alone):
    run("-m", "torch.distributed.run", "--nproc-per-node=2", SCRIPT, str(tmp_path), "10", "0", "1")
    assert differences(np.load(tmp_path / "weights.npz"), alone) < 1e-14


def test_a_run_of_two_processes_goes_on_in_one(tmp_path, alone):
    run(SCRIPT, str(tmp_path), "5", "2", "1")
    together.main(str(tmp_path), "10", "1", "2")
    assert differences(np.load(tmp_path / "weights.npz"), alone) < 1e-14


@pytest.mark.parametrize("kind", ["denoiser", "langevin"])
def test_the_command_line_trains_in_two_processes(tmp_path, kind):
    system = "alanine_dipeptide:beads6" if kind == "denoiser" else "alanine_dipeptide"
    data = write_training_set(tmp_path / "data", system)
    words = WORDS if kind == "denoiser" else DYNAMICS_WORDS
    if kind == "langevin":
        add_springs(data)
    (tmp_path / "empty.yaml").write_text("{}")
    out = tmp_path / "run"
    said = run(
        "-m", "molflow.cli", "train", system, "--data", str(data), "--out", str(out), "--config",
        str(tmp_path / "empty.yaml"), "--device", "cpu", "--devices", "2", "--quiet", *words,
    )  # fmt: skip
    assert said.count("Checkpoint in") == 1
    assert len(said.strip().splitlines()) == 1
    found = load_checkpoint(out)
    assert found.description["record"]["steps"] == 8
    assert all(bool(p.isfinite().all()) for p in found.flow_map.parameters())


def test_how_many_there_are(monkeypatch):
    assert find_processes(None, None, CPU) == Processes(1, 1)
    assert find_processes(3, None, CPU) == Processes(3, 1)
    for name, value in (
        ("TORCHELASTIC_RUN_ID", "1"), ("LOCAL_WORLD_SIZE", "4"), ("WORLD_SIZE", "8"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert find_processes(None, None, CPU) == Processes(4, 2)
    assert find_processes(4, 2, CPU) == Processes(4, 2)
    with pytest.raises(MolflowError, match=r"devices is 2, and torchrun has started 4 processes"):
        find_processes(2, None, CPU)


def test_slurm_says_how_many_there_are_where_it_started_them(monkeypatch):
    for name, value in (
        ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "6"), ("SLURM_NNODES", "3"),
        ("SLURM_JOB_NAME", "molflow"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert find_processes(None, None, CPU) == Processes(2, 3)
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert find_processes(None, None, CPU) == Processes(1, 1)


@pytest.mark.parametrize(
    ("devices", "nodes", "place", "sentence"),
    [
        (0, None, "cpu", "devices is 0: give the number of processes, 1 or more"),
        (1, 2, "cpu", "nodes is 2, and this process was started alone"),
        (2, None, "cuda:0", "device is 'cuda:0', one GPU, and devices is 2"),
        (99, None, "cuda", "devices is 99, and torch sees"),
    ],
)
def test_what_cannot_be_is_said(devices, nodes, place, sentence):
    with pytest.raises(MolflowError, match=sentence):
        find_processes(devices, nodes, torch.device(place))
