"""Parts of a configuration: typed, checked, and of a class that the part itself names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid")


def chosen(
    section: Any,
    kinds: Mapping[str, Any],
    default: str,
    name: str,
    of: Callable[[Any], type[Section]] = lambda kind: kind.configuration,
) -> Section:
    """Return a section checked by the class of the kind that it names.

    Parameters
    ----------
    section : dict or Section
        Says its ``kind``, or is of the default one. What is checked already stays as it is.
    kinds : mapping
        The kinds there are.
    default : str
        That of files from before there was a choice.
    name : str
        Of the section, for messages.
    of : callable
        A kind to the class of its section.

    Raises
    ------
    ValueError
        If the kind or a key is unknown, or a value is not allowed.
    """
    if not isinstance(section, dict):
        return section
    kind = section.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{name}.kind must be one of {', '.join(kinds)}")
    return of(kinds[kind]).model_validate(section | {"kind": kind})
