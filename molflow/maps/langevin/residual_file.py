"""The file of a checkpoint that holds its residual noise."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from molflow.errors import MolflowError
from molflow.files import read_json, replacing, sha256_of, write_json
from molflow.maps.langevin.residual_noise import ResidualNoise
from molflow.sde.base import time_tensor
from molflow.training.checkpoint import DESCRIPTION

RESIDUAL = "residual.safetensors"


def save_residual(folder: str | Path, residual: ResidualNoise) -> None:
    """Add residual noise to a checkpoint; its description then names the hash."""
    folder = Path(folder)
    values = {field.name: getattr(residual, field.name) for field in fields(residual)}
    tensors = {name: time_tensor(value).contiguous() for name, value in values.items()}
    with replacing(folder / RESIDUAL) as temporary:
        temporary.write_bytes(save(tensors))
    described = read_json(folder / DESCRIPTION)
    write_json(folder / DESCRIPTION, {**described, "residual_sha256": sha256_of(folder / RESIDUAL)})


def load_residual(folder: Path, description: dict[str, Any]) -> ResidualNoise | None:
    """Return the residual noise of a checkpoint, None if it has none.

    Raises
    ------
    MolflowError
        If the file is missing or not the one that the description names.
    """
    recorded = description.get("residual_sha256")
    if recorded is None:
        return None
    path = folder / RESIDUAL
    if not path.is_file() or sha256_of(path) != recorded:
        raise MolflowError(
            f"the checkpoint '{folder}' is damaged: {RESIDUAL} is missing or not the file that "
            f"{DESCRIPTION} describes; copy or train it again."
        )
    tensors = load_file(path)
    numbers = {name: float(tensors.pop(name)) for name in ("block", "temperature")}
    held: dict[str, Any] = tensors | numbers
    return ResidualNoise(**held)
