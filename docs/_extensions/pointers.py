"""Roles that point from a page to code and tests, and complain where there is nothing.

``{molflow}`brownian.chen.join` `` is a name below `molflow`, linked where the reference has it.
``{test}`brownian/test_chen.py::test_joining_is_associative` `` is a test below `tests/`.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

TESTS = Path(__file__).parents[2] / "tests"
logger = logging.getLogger(__name__)


def find(name: str) -> object:
    """Return what a dotted name below `molflow` stands for.

    Raises
    ------
    LookupError
        If there is no such module, or nothing of that name in it.
    """
    parts = ["molflow", *name.split(".")]
    for k in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            if not hasattr(found, part):
                raise LookupError(name)
            found = getattr(found, part)
        return found
    raise LookupError(name)


@cache
def tests_in(file: str) -> frozenset[str]:
    """Return the names of the test functions of a file below `tests/`; none if it is not there."""
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


class CodePointer(SphinxRole):
    """A name of the package."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return a reference to the name."""
        try:
            find(self.text)
        except LookupError:
            logger.warning("molflow has no '%s'", self.text, location=self.get_location())
        shown = nodes.literal(self.text, self.text, classes=["xref", "py"])
        reference = addnodes.pending_xref(
            "",
            shown,
            refdomain="py",
            reftype="obj",
            reftarget=f"molflow.{self.text}",
            refdoc=self.env.docname,
            refwarn=False,
            refexplicit=True,
        )
        return [reference], []


class TestPointer(SphinxRole):
    """A test, as pytest names it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the name of the test."""
        file, _, name = self.text.partition("::")
        if name not in tests_in(file):
            logger.warning("there is no test '%s'", self.text, location=self.get_location())
        return [nodes.literal(self.text, f"tests/{self.text}", classes=["test"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the roles."""
    app.add_role("molflow", CodePointer())
    app.add_role("test", TestPointer())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
