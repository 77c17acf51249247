"""Docstrings are plain text with names in backticks: a star or a bar in them is a star or a bar.

``(B, *shape)`` and ``|z|`` would open emphasis and a substitution in reStructuredText.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

BACKTICKS = re.compile(r"(``.*?``|`.*?`)")


def escape(line: str) -> str:
    """Escape stars and bars outside of backticks."""
    parts = BACKTICKS.split(line)
    return "".join(
        part if part.startswith("`") else re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts
    )


def escape_lines(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape a docstring in place."""
    lines[:] = [escape(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before numpydoc, which makes sections of the lines."""
    app.connect("autodoc-process-docstring", escape_lines, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
