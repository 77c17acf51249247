"""What all parts of a configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid")
