"""The page of the command line, from the typer application itself."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer.main

from molflow.cli import app

WORDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}
HEAD = """# Command line

Every verb is also a function of the same name in Python. `molflow VERB --help` says what this page
says. Quantities carry their unit: `20fs`, `350K`, `10/ps`. A mistake in the input is one sentence
and exit status 2, an interruption 130, an error in molflow 1 with the traceback in
`molflow-error.log`; `molflow check` ends with 1 if a property failed.
"""


def page() -> str:
    """Return the page as Markdown, the verbs in the order of their use."""
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *(_verb(name, verb) for name, verb in group.commands.items())])


def _verb(name: str, verb: typer.core.TyperCommand) -> str:
    """Return the section of one verb."""
    hints = get_type_hints(verb.callback)
    arguments = [p for p in verb.params if p.param_type_name == "argument"]
    options = [p for p in verb.params if p.param_type_name == "option" and p.name != "help"]
    needed = [f"{p.opts[0]} {_takes(p, hints)}" for p in options if p.required]
    usage = " ".join(["molflow", name, *map(_shown, arguments), *needed])
    parts = [f"(verb-{name})=\n## {name}", f"```text\n{usage}\n```", _text(verb.help)]
    if verb.params:
        rows = [_row(_shown(p), p) for p in arguments]
        rows += [_row(_names(p, hints), p) for p in options]
        parts.append("\n".join(["| argument | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _text(help_text: str | None) -> str:
    """Return the words of a verb with its example as a block."""
    text = (help_text or "").strip()
    return re.sub(r"Example: `([^`]*)`", r"```sh\n\1\n```", text)


def _shown(argument: Any) -> str:
    """Return how an argument is written."""
    shown = (argument.metavar or argument.name.upper()).strip("[]").removesuffix("...")
    shown += "..." if argument.nargs == -1 else ""
    return shown if argument.required else f"[{shown}]"


def _names(option: Any, hints: dict[str, Any]) -> str:
    """Return how an option is written, with what it takes."""
    names = ", ".join(sorted([*option.opts, *option.secondary_opts], key=len))
    return names if option.is_flag else f"{names} {_takes(option, hints)}"


def _takes(option: Any, hints: dict[str, Any]) -> str:
    annotation = hints[option.name]
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return option.metavar or WORDS.get(annotation, "TEXT")


def _row(shown: str, parameter: Any) -> str:
    cells = f"`{shown}`", parameter.help or "", _default(parameter)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "needed"
    if value in (None, ()) or isinstance(value, Callable):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`"
