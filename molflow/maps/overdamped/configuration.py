"""Settings of maps of overdamped Langevin dynamics."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from molflow.maps.dynamics.configuration import DynamicsConfig


class OverdampedConfig(DynamicsConfig):
    """Langevin dynamics without inertia."""

    kind: Literal["overdamped"] = "overdamped"

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, data: Any) -> Any:
        """Drop what older files say of bonded forces, which such a map never knew."""
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key != "bonded"}
        return data
