import pickle

import pytest
import torch
from safetensors import safe_open

from molflow.errors import MolflowError
from molflow.training.checkpoint_io import SafetensorsCheckpointIO


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


STATE = {
    "epoch": 3,
    "lr": 0.1 + 0.2,
    "tiny": 5e-324,
    "flag": True,
    "none": None,
    "text": "σ “quoted” \n",
    "optimizer": {
        "state": {0: {"step": torch.tensor(4.0), "avg": torch.randn(3, 2)}, 11: {}},
        "groups": [{"betas": (0.9, 0.99), "params": [0, 11]}],
    },
    "nested": ((), [], {}, (None, [1, (2,)])),
    "tensors": [torch.arange(3), torch.zeros(0), torch.randn(2, 2).double(), torch.tensor(True)],
    "view": torch.randn(4, 4).T,
}


def test_round_trip_is_bitwise(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    SafetensorsCheckpointIO().save_checkpoint(STATE, path)
    assert equal(SafetensorsCheckpointIO().load_checkpoint(path), STATE)
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_the_comparison_sees_differences():
    assert not equal((1,), [1]) and not equal({1: 2}, {"1": 2}) and not equal(1, 1.0)


def test_tensors_that_share_memory_are_written(tmp_path):
    weight = torch.randn(3)
    SafetensorsCheckpointIO().save_checkpoint(
        {"a": weight, "b": weight, "c": weight[:2]}, tmp_path / "x"
    )
    loaded = SafetensorsCheckpointIO().load_checkpoint(tmp_path / "x")
    assert torch.equal(loaded["a"], loaded["b"]) and torch.equal(loaded["c"], weight[:2])


def test_no_pickle(tmp_path):
    path = tmp_path / "x.safetensors"
    SafetensorsCheckpointIO().save_checkpoint(STATE, path)
    with safe_open(path, framework="pt") as file:
        assert "optimizer" in file.metadata()["checkpoint"]
    # A pickle is refused, not executed.
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(MolflowError, match="is damaged"):
        SafetensorsCheckpointIO().load_checkpoint(path)


def test_what_is_neither_tensor_nor_json_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    SafetensorsCheckpointIO().save_checkpoint({"a": 1}, path)
    with pytest.raises(TypeError, match="holds a set at '/hyper/x'"):
        SafetensorsCheckpointIO().save_checkpoint({"hyper": {"x": {1, 2}}}, path)
    assert SafetensorsCheckpointIO().load_checkpoint(path) == {"a": 1}


def test_truncated_or_missing_state_is_a_sentence(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(MolflowError, match="is damaged"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    SafetensorsCheckpointIO().save_checkpoint(STATE, path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(MolflowError, match="train again"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    SafetensorsCheckpointIO().remove_checkpoint(path)
    SafetensorsCheckpointIO().remove_checkpoint(path)
    assert not path.exists()
