"""Whose run a folder holds, and whether it may go on with other settings."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml
from pydantic import ValidationError

from molflow.errors import MolflowError
from molflow.files import write_text
from molflow.system_files import read_yaml
from molflow.training.configuration import TrainingConfig
from molflow.training.schedule import decay_begins

CONFIG, METRICS = "config.yaml", "metrics.csv"
#: What may change while the learning rate is constant.
_LENGTH = ("steps", "learning_rate_decay")
#: What may change at any time: it does not touch the weights.
_VALIDATION = ("validate_every", "validation_samples", "validation_nfe")


def claim(
    out: Path, settings: TrainingConfig, data_hash: str, start_hash: str | None = None
) -> None:
    """Write what defines the run, or make sure that the folder holds the same run.

    `start_hash` is that of the weights it starts from, None for random ones.

    The number of steps and the length of the final decay of the learning rate may change before
    either decay begins: until then every run goes through the same states.

    Raises
    ------
    MolflowError
        If the folder holds another run, or one that has gone too far for the new length.
    """
    path = out / CONFIG
    wanted = {"data_hash": data_hash, "training": settings.model_dump(mode="json")}
    if start_hash is not None:
        wanted["start_weights_sha256"] = start_hash
    if path.exists():
        stored = read_yaml(path)
        if not {"data_hash", "training"} <= stored.keys():
            raise MolflowError(
                f"'{path}' does not describe a training run: choose another folder, or bring the "
                "file back."
            )
        if _identity(_complete(stored)) != _identity(wanted):
            raise MolflowError(
                f"'{out}' holds a training run with other settings, data or start: choose another "
                f"folder, or go back to what '{path}' says."
            )
        _check_length(out, TrainingConfig(**stored["training"]), settings)
    write_text(path, yaml.safe_dump(wanted, sort_keys=False))


def _check_length(out: Path, before: TrainingConfig, now: TrainingConfig) -> None:
    if all(getattr(before, name) == getattr(now, name) for name in _LENGTH):
        return
    done = steps_done(out)
    begins = min(decay_begins(before), decay_begins(now))
    if done > begins:
        raise MolflowError(
            f"'{out}' has trained {done} steps, and with steps = {before.steps} or {now.steps} the "
            f"learning rate falls from step {begins} on: steps and learning_rate_decay can only "
            f"change before that. Go back to steps={before.steps} "
            f"learning_rate_decay={before.learning_rate_decay}, or choose another folder."
        )


def steps_done(out: Path) -> int:
    """Return how many steps the run in the folder has finished."""
    path = out / METRICS
    if not path.exists():
        return 0
    with open(path, newline="", encoding="utf-8") as file:
        return max((int(row["step"]) for row in csv.DictReader(file)), default=0)


def _complete(stored: dict) -> dict:
    """Return what a folder says with the values of keys that came later; they mean what was.

    What this version does not understand stays as it is.
    """
    try:
        training = TrainingConfig(**stored["training"]).model_dump(mode="json")
    except ValidationError:
        return stored
    return stored | {"training": training}


def _identity(text: dict) -> tuple:
    free = {*_LENGTH, *_VALIDATION}
    kept = {k: v for k, v in text["training"].items() if k not in free}
    return text["data_hash"], text.get("start_weights_sha256"), kept
