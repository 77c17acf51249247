"""The page of the training configuration, from its typed classes."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from molflow.nn.registry import NETWORKS
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import MAPS

HEAD = """# Training configuration

`molflow train` merges the defaults below, the system's own `training.yaml` or the file of
`--config`, and the words `key=value` of the command line, the later ones winning. A key that is not
here is refused. `network.kind` and `map.kind` choose a class; what was said of another kind before
is forgotten.

```sh
molflow train alanine_dipeptide --data data --out run steps=2000 network.kind=sparse map.eta=1
```
"""


def page() -> str:
    """Return the page as Markdown: the run, then one section for each part and kind."""
    parts = [HEAD, "## The run", _table("", TrainingConfig)]
    for key in TrainingConfig.model_fields:
        for model in _models(key):
            kinds = " or ".join(f"`{kind}`" for kind in _kinds(model))
            parts.append(f"## {key}: {kinds}" if kinds else f"## {key}")
            parts += [(model.__doc__ or "").strip(), _table(f"{key}.", model)]
    return "\n\n".join(parts) + "\n"


def _models(key: str) -> list[type[BaseModel]]:
    """Return the classes that a part of the configuration may be of, one for each kind."""
    found = {
        "map": [kind.configuration for kind in MAPS.values()],
        "network": [network.configuration for network in NETWORKS.values()],
        "objective": [kind.objective for kind in MAPS.values()],
    }.get(key, [])
    return list(dict.fromkeys(found))


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def _table(prefix: str, model: type[BaseModel]) -> str:
    """Return the keys of a class with type, default and meaning."""
    rows = []
    for name, field in model.model_fields.items():
        if name == "kind" or (model is TrainingConfig and _models(name)):
            continue
        cells = f"`{prefix}{name}`", _type(field), _default(field), field.description or ""
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


def _type(field: FieldInfo) -> str:
    """Return what a value must be, with its bounds."""
    words = [_words(field.annotation)]
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    for bound in field.metadata:
        for attribute, sign in signs.items():
            if (limit := getattr(bound, attribute, None)) is not None:
                words.append(f"{sign} {limit:g}")
    return ", ".join(words)


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "none"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, inner))
    if origin is list:
        return f"list of {_words(inner[0])}"
    if origin is tuple:
        return f"{len(inner)} of {_words(inner[0])}"
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "needed"
    if field.default is None:
        return ""
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
