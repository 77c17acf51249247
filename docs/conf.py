"""How the site is built: `make docs`, into docs/_build/html. Warnings are errors."""

import sys
from pathlib import Path

import molflow

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "molflow"
author = "molflow developers"
project_copyright = "molflow developers"
version = release = molflow.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "pointers",
    "generated_pages",
    "mathml",
    "plain_docstrings",
]
exclude_patterns = ["_build", "_extensions", "_templates"]
templates_path = ["_templates"]

# Pages are Markdown. Notebooks are the copies that `make notebooks` has run; nothing runs here.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
# py3Dmol gives its script beside the page that holds it.
suppress_warnings = ["mystnb.unknown_mime_type"]

# Docstrings are numpydoc with plain backticks.
default_role = "code"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"molflow {release}"
html_static_path = ["_static"]
html_css_files = ["molflow.css"]
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
