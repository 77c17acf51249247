"""Write the pages that follow from the code before the site is read: `docs/generated/`.

The command line from the typer application, the configuration from its typed classes, the metrics
from their registry, the folders of the package from what they offer. A page is written only if it
has changed: Sphinx then reads it again.
"""

from __future__ import annotations

from pathlib import Path

import api_pages
import command_line_page
import configuration_page
import metrics_page
from sphinx.application import Sphinx
from sphinx.config import Config


def pages() -> dict[str, str]:
    """Return all pages by name."""
    return {
        "command_line": command_line_page.page(),
        "configuration": configuration_page.page(),
        "metrics": metrics_page.page(),
        **api_pages.pages(),
    }


def write_pages(app: Sphinx, config: Config) -> None:
    """Write all pages below the sources of the site, and remove those that are no more."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    wanted = {folder / f"{name}.md": text for name, text in pages().items()}
    for old in set(folder.glob("*.md")) - wanted.keys():
        old.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    # By name: Sphinx would look into the pages that it knew the last time.
    config.autosummary_generate = sorted(f"generated/{path.name}" for path in wanted)


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
