"""Typed configuration of a training run: defaults, checks and documentation in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from yaml import YAMLError

from molflow.errors import MolflowError
from molflow.nn.registry import network_configuration
from molflow.objectives.families import START
from molflow.objectives.registry import OBJECTIVES
from molflow.section import Section
from molflow.system_files import read_yaml
from molflow.training.kinds import MAPS, MapKind, map_configuration
from molflow.training.optimisation import Optimisation

if TYPE_CHECKING:
    # Of a class that the part itself names.
    AnySection = Any
else:
    AnySection = SerializeAsAny[Section]


class TrainingConfig(Optimisation):
    """Everything that defines a training run, apart from its data."""

    map: AnySection = Field(None, validate_default=True)
    network: AnySection = Field(None, validate_default=True)
    objective: AnySection = Field(None, validate_default=True)
    batch_size: int = Field(64, gt=1)
    seed: int = 0
    validation_samples: int = Field(1024, gt=0)
    validation_nfe: list[int] = Field([4], description="network calls per validation sample")

    @property
    def kind(self) -> MapKind:
        """The kind of the map."""
        return MAPS[self.map.kind]

    @field_validator("map", mode="before")
    @classmethod
    def _of_its_kind(cls, section: Any) -> Any:
        return map_configuration({} if section is None else section)

    @field_validator("network", mode="before")
    @classmethod
    def _or_that_of_the_map(cls, section: Any, info: ValidationInfo) -> Any:
        if section is None:
            section = MAPS[info.data["map"].kind].network if "map" in info.data else {}
        return network_configuration(section)

    @field_validator("objective", mode="before")
    @classmethod
    def _of_the_map(cls, section: Any, info: ValidationInfo) -> Any:
        if "map" not in info.data or not isinstance(section, dict | None):
            return Section() if section is None else section
        name = info.data["map"].kind
        wanted = MAPS[name].objective
        kind, section = wanted.model_fields["kind"].default, section or {}
        if section.get("kind", kind) != kind:
            raise ValueError(
                f"objective.kind = {section['kind']} does not go with map.kind = {name}: leave it "
                "out"
            )
        return wanted.model_validate(section)

    @model_validator(mode="after")
    def _fits_together(self):
        objective = self.objective
        if objective.kind != self.kind.objective.model_fields["kind"].default:
            raise ValueError(
                f"objective.kind = {objective.kind} does not go with map.kind = "
                f"{self.map.kind}: leave it out"
            )
        if objective.family not in OBJECTIVES:
            raise ValueError(f"objective.family must be one of {OBJECTIVES.listed()}")
        for need in sorted(OBJECTIVES[objective.family].needs - {START} - self.kind.offers):
            raise ValueError(
                f"objective.family = {objective.family} needs {need}, which the equation of "
                f"map.kind = {self.map.kind} does not have: choose another"
            )
        self.kind.check(self)
        return self


def load_configuration(
    files: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    defaults: dict[str, Any] | None = None,
) -> TrainingConfig:
    """Merge defaults, YAML files and ``key=value`` words, later ones winning.

    `defaults` replace those of the sections that they name.

    What names the kind of the network or the map (``network.kind``, ``map.kind``) replaces all that
    was said of it before: sizes of one kind mean nothing for another.

    Raises
    ------
    MolflowError
        If a file cannot be read, a key is unknown or a value is not allowed.
    """
    try:
        layers: list[Any] = [OmegaConf.create(defaults or {})]
        layers += [OmegaConf.create(read_yaml(path)) for path in files]
        layers.append(OmegaConf.from_dotlist(list(overrides)))
        for k, layer in enumerate(layers):
            for section in ("network", "map"):
                if OmegaConf.select(layer, f"{section}.kind") is not None:
                    for earlier in layers[:k]:
                        earlier.pop(section, None)
        merged: Any = OmegaConf.to_container(OmegaConf.merge(*layers), resolve=True)
        return TrainingConfig(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if not key:
            raise MolflowError(f"the training configuration is wrong: {reason}.") from error
        raise MolflowError(
            f"the training configuration is wrong at '{key}' = {first['input']!r}: {reason}."
        ) from error
    except (OSError, YAMLError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise MolflowError(f"the training configuration cannot be read: {error}") from error
