"""The reference of the package: what it and each of its folders offer, from their `__all__`."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import molflow

HEAD = """# Python

The verbs are functions of `molflow` itself. The folders are read on their own; what each offers is
loaded when it is first asked for, so that `import molflow` stays light.
"""


def pages() -> dict[str, str]:
    """Return the page of the package and those of its folders by name."""
    folders = [m.name for m in pkgutil.iter_modules(molflow.__path__) if m.ispkg and offers(m.name)]
    own = [name for name in molflow.__all__ if not inspect.ismodule(getattr(molflow, name))]
    listed = "\n".join(f"api_{folder}" for folder in folders)
    contents = f"```{{toctree}}\n:hidden:\n\n{listed}\n```"
    rows = [f"- [`molflow.{folder}`](api_{folder}.md): {_sentence(folder)}" for folder in folders]
    whole = [HEAD, _summary("molflow", own), "## Folders", "\n".join(rows), contents]
    return {"api": "\n\n".join(whole) + "\n"} | {f"api_{name}": _page(name) for name in folders}


def offers(folder: str) -> list[str]:
    """Return the names that a folder offers."""
    return list(getattr(import_module(f"molflow.{folder}"), "__all__", []))


def _page(folder: str) -> str:
    module = f"molflow.{folder}"
    words = inspect.getdoc(import_module(module)) or ""
    return f"# {module}\n\n{words}\n\n{_summary(module, offers(folder))}\n"


def _sentence(folder: str) -> str:
    return (inspect.getdoc(import_module(f"molflow.{folder}")) or "").partition("\n")[0]


def _summary(module: str, names: list[str]) -> str:
    """Return a table of names, each with a page of its own, in the order of the stub."""
    stub = Path(import_module(module).__file__).with_suffix(".pyi")
    if stub.exists():
        tree = ast.parse(stub.read_text(encoding="utf-8"))
        order = [alias.name for node in tree.body for alias in getattr(node, "names", [])]
        names = sorted(names, key=lambda name: order.index(name) if name in order else 1000)
    names = [name for name in names if not name.startswith("__")]
    head = [
        "```{eval-rst}",
        f".. currentmodule:: {module}",
        "",
        ".. autosummary::",
        "   :toctree: ../api",
        "   :nosignatures:",
        "",
    ]
    return "\n".join([*head, *(f"   {name}" for name in names), "```"])
