"""Resumable training state as safetensors and JSON, never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from molflow.errors import MolflowError
from molflow.files import replacing


class SafetensorsCheckpointIO(CheckpointIO):
    """Write Lightning's checkpoint dictionary to one safetensors file.

    Tensors become tensors of the file; everything else (counters, hyperparameters, optimiser
    settings, callback states) becomes JSON in its header. What is neither is refused.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options=None) -> None:
        """Write the checkpoint atomically."""
        tensors: dict[str, torch.Tensor] = {}
        text = json.dumps(_encode(checkpoint, "", tensors))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"checkpoint": text})

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        """Read a checkpoint to the CPU; Lightning moves it.

        Raises
        ------
        MolflowError
            If the file is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                return _decode(json.loads(file.metadata()["checkpoint"]), tensors)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise MolflowError(
                f"the training state '{path}' is damaged ({error}): delete it and train again."
            ) from error

    def remove_checkpoint(self, path) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def _encode(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        # Copies: two names of one storage (tied or shared) are not allowed in the file.
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        items = [[_encode(k, "", {}), _encode(v, f"{name}/{k}", tensors)] for k, v in value.items()]
        return {"dict": items}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(
        f"the training state holds a {type(value).__name__} at '{name}', which JSON cannot."
    )


def _decode(data: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, content),) = data.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in content}
    if kind == "value":
        return content
    return {"list": list, "tuple": tuple}[kind](_decode(v, tensors) for v in content)
