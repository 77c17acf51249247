"""Devices by name, and checkpoints on them."""

import os

import pytest
import torch
from counting import DEVICE

import molflow.training.checkpoint as checkpoints
from molflow.devices import find_device, kept_on, like
from molflow.errors import MolflowError
from molflow.training.checkpoint import load_checkpoint, open_checkpoint
from molflow.verbs.arguments import _use_threads


def test_devices_by_name(monkeypatch):
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    for count, auto in ((0, "cpu"), (2, "cuda")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert find_device("auto") == torch.device(auto)
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(MolflowError, match="'cuda:2', and torch sees 2 GPUs"):
        find_device("cuda:2")
    with pytest.raises(MolflowError, match="'mps', which has no double precision"):
        find_device("mps")
    for name in ("gpu", "meta", "cuda:x"):
        with pytest.raises(MolflowError, match=f"device is '{name}': choose auto, cpu, cuda"):
            find_device(name)


def test_a_loaded_checkpoint_is_copied_to_a_device_and_stays_where_it_is(monkeypatch):
    loaded = load_checkpoint("alanine_dipeptide:dynamics")
    assert open_checkpoint(loaded) is loaded and open_checkpoint(loaded, "cpu") is loaded
    monkeypatch.setattr(checkpoints, "find_device", lambda name: DEVICE)
    moved = open_checkpoint(loaded, "cuda")
    assert loaded.device == torch.device("cpu") and moved.device == DEVICE
    other = moved.flow_map.at(320.0, 4.0)
    for flow_map in (moved.flow_map, other):
        assert {value.device for value in flow_map.buffers()} == {DEVICE}
        assert flow_map.sde.sigma.device == flow_map.motion.sde.masses.device == DEVICE
    assert loaded.flow_map.sde.sigma.device == torch.device("cpu")


def test_tables_go_to_a_device_once_and_values_take_its_precision():
    table = torch.ones(3, dtype=torch.float64)
    assert kept_on(torch.device("cpu"), table) is table
    assert kept_on(DEVICE, table) is kept_on(DEVICE, table)
    found = like(table, torch.zeros(2, device=DEVICE))
    assert (found.device, found.dtype) == (DEVICE, torch.float32)


def test_threads(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    before = torch.get_num_threads()
    try:
        assert _use_threads(None) is None and os.environ["OMP_NUM_THREADS"] == "7"
        _use_threads(3)
        assert torch.get_num_threads() == 3 and os.environ["OPENBLAS_NUM_THREADS"] == "3"
    finally:
        torch.set_num_threads(before)
