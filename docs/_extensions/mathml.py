"""Formulas as MathML, which every browser shows: no script, nothing loaded from elsewhere.

docutils translates the LaTeX; what it does not know is a warning.
"""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import wrap_displaymath
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
ElementTree.register_namespace("", "http://www.w3.org/1998/Math/MathML")
SPACE = "{http://www.w3.org/1998/Math/MathML}"
#: LaTeX that docutils knows by another name only.
OTHERWISE = {
    r"\\(big|Big)(?=[\[(])": r"\\\1l",
    r"\\(big|Big)(?=[\])])": r"\\\1r",
    r"\\dots(?![a-zA-Z])": r"\\ldots",
}


def mathml_of(tex: str, block: bool) -> str:
    """Return MathML of a formula.

    Raises
    ------
    docutils.utils.math.MathError
        If it has a command that is not known.
    """
    for pattern, written in OTHERWISE.items():
        tex = re.sub(pattern, written, tex)
    return tidy(tex2mathml(tex, as_block=block))


def translate(tex: str, block: bool, node: nodes.Element) -> str:
    """Return MathML of a formula, or the LaTeX itself with a warning."""
    try:
        return mathml_of(tex, block)
    except MathError as error:
        logger.warning("formula '%s': %s", tex, error, location=node)
        return f"<code>{tex}</code>"


def tidy(text: str) -> str:
    """Put indices of accented letters beside them, not below, and aligned lines in full size."""
    named = re.compile(r"&(?!lt;|gt;|amp;|quot;)\w+;")
    formula = ElementTree.fromstring(named.sub(lambda found: html.unescape(found[0]), text))
    for part in list(formula.iter(f"{SPACE}munderover")):
        base, index, accent = part
        if accent.tag == f"{SPACE}mo" and accent.get("stretchy") == "false":
            accented = ElementTree.Element(f"{SPACE}mover", {"accent": "true"})
            accented.extend([base, accent])
            part.tag = f"{SPACE}msub"
            part[:] = [accented, index]
    for table in formula.iter(f"{SPACE}mtable"):
        table.set("displaystyle", "true")
    return ElementTree.tostring(formula, encoding="unicode")


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(translate(node.astext(), False, node))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own line."""
    tex = node.astext()
    if r"\\" in tex and r"\begin" not in tex:
        tex = wrap_displaymath(tex, None, False)
    self.body.append(f'<div class="math">{translate(tex, True, node)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer to `html_math_renderer`."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
