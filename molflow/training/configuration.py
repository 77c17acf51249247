"""Typed configuration of a training run: defaults, checks and documentation in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator
from yaml import YAMLError

from molflow.errors import MolflowError
from molflow.training.map_configuration import AnyMapConfig, MapConfig, is_dynamics
from molflow.training.network_configuration import DenseConfig, NetworkConfig
from molflow.training.objective_configuration import AnyObjectiveConfig, ObjectiveConfig
from molflow.training.section import Section


class TrainingConfig(Section):
    """Everything that defines a training run, apart from its data."""

    network: NetworkConfig = DenseConfig()
    map: AnyMapConfig = MapConfig()
    objective: AnyObjectiveConfig = ObjectiveConfig()
    steps: int = Field(10000, gt=0, description="training steps")
    batch_size: int = Field(64, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_warmup: int = Field(200, ge=0, description="steps")
    learning_rate_decay: int = Field(3000, ge=0, description="last steps, cosine to zero")
    ema_decay: float = Field(0.999, gt=0, lt=1, description="of the weights that are kept")
    teacher_decay: float = Field(0.995, gt=0, lt=1, description="of the weights that teach")
    gradient_clip: float = Field(1.0, gt=0)
    seed: int = 0
    steps_per_epoch: int = Field(250, gt=0, description="steps between two resumable states")
    validate_every: int = Field(4, gt=0, description="epochs between two validations")
    validation_samples: int = Field(1024, gt=0)
    validation_nfe: list[int] = Field([4], description="network evaluations per validation sample")

    @model_validator(mode="before")
    @classmethod
    def _of_the_map(cls, data: Any) -> Any:
        """Let objective and default network be those of the kind of map."""
        if not isinstance(data, dict) or not is_dynamics(data.get("map")):
            return data
        data = {"network": DenseConfig(scalars=48, vectors=24, layers=3)} | data
        objective = data.get("objective") or {}
        if isinstance(objective, dict):
            data["objective"] = {"kind": "langevin"} | objective
        return data

    @model_validator(mode="after")
    def _fits_the_map(self):
        if is_dynamics(self.map) != (self.objective.kind == "langevin"):
            raise ValueError(
                f"objective.kind = {self.objective.kind} does not go with map.kind = "
                f"{self.map.kind}: leave it out"
            )
        if self.map.kind == "overdamped" and self.objective.frictions:
            raise ValueError(
                "objective.frictions is of no use where map.kind = overdamped, which knows every "
                "friction from one: leave it out"
            )
        if getattr(self.objective, "direct_share", 0.0):
            self._fits_paths()
        anchor = getattr(self.objective, "anchor", (0.0, 0.0))[1]
        if is_dynamics(self.map) and anchor >= self.map.longest_lag:
            raise ValueError(
                f"objective.anchor ends at {anchor} ps, not below map.longest_lag = "
                f"{self.map.longest_lag}"
            )
        return self

    def _fits_paths(self) -> None:
        if self.map.kind == "overdamped":
            raise ValueError(
                "objective.direct_share is for map.kind = langevin, whose paths have inertia: set "
                "it to 0"
            )
        if self.objective.frictions:
            raise ValueError(
                "objective.frictions is of no use with objective.direct_share, where frictions are "
                "those of the paths: leave it out"
            )


def load_configuration(
    files: Sequence[str | Path] = (), overrides: Sequence[str] = ()
) -> TrainingConfig:
    """Merge defaults, YAML files and ``key=value`` words, later ones winning.

    What names the kind of the network or the map (``network.kind``, ``map.kind``) replaces all that
    was said of it before: sizes of one kind mean nothing for another.

    Raises
    ------
    MolflowError
        If a file cannot be read, a key is unknown or a value is not allowed.
    """
    try:
        layers = [OmegaConf.load(path) for path in files]
        layers.append(OmegaConf.from_dotlist(list(overrides)))
        for k, layer in enumerate(layers):
            for section in ("network", "map"):
                if OmegaConf.select(layer, f"{section}.kind") is not None:
                    for earlier in layers[:k]:
                        earlier.pop(section, None)
        merged = OmegaConf.to_container(OmegaConf.merge(*layers), resolve=True)
        return TrainingConfig(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        # Without the kind, which pydantic puts between a section and its key.
        chosen = first["loc"][:1] in (("network",), ("map",), ("objective",))
        place = [part for k, part in enumerate(first["loc"]) if k != 1 or not chosen]
        key = ".".join(str(part) for part in place)
        reason = first["msg"].removeprefix("Value error, ")
        if not key:
            raise MolflowError(f"the training configuration is wrong: {reason}.") from error
        raise MolflowError(
            f"the training configuration is wrong at '{key}' = {first['input']!r}: {reason}."
        ) from error
    except (OSError, YAMLError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise MolflowError(f"the training configuration cannot be read: {error}") from error
