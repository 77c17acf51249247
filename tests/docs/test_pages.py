"""What pages say can be done: commands parse, names exist, formulas point to code and test."""

import ast
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

from molflow.cli import app
from molflow.errors import MolflowError
from molflow.training.configuration import load_configuration
from molflow.verbs.training import told_apart

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(p for p in sorted(DOCS.rglob("*.md")) if not {"generated", "_build"} & set(p.parts)),
    ROOT / "README.md",
    *sorted((ROOT / "systems").glob("*/README.md")),
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
sys.path.insert(0, str(DOCS / "_extensions"))
VERBS = typer.main.get_command(app)


def blocks(page, *languages):
    """Yield the code of a page in some languages, and what is set off by four spaces as shell."""
    text = page.read_text(encoding="utf-8")
    for _, language, code in FENCE.findall(text):
        if language in languages:
            yield code
    if "sh" in languages:
        rest = FENCE.sub("", text)
        yield "\n".join(line[4:] for line in rest.splitlines() if line.startswith("    "))


def commands(page):
    """Yield every command line of molflow on a page, as a list of words."""
    for code in blocks(page, "sh", "text"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["molflow"] and "VERB" not in words:
                yield words[1:]


def parse(words):
    """Let the application read the words of a command, without running it."""
    with VERBS.make_context("molflow", list(words)) as context:
        name, verb, rest = VERBS.resolve_command(context, list(words))
        given = verb.make_context(name, rest, parent=context).params
        if name == "train":
            files = [ROOT / given["config"]] if given["config"] else []
            more, overrides = told_apart(given["words"])
            load_configuration([f for f in files if f.exists()], overrides)
            assert len(given["data"]) == 1 + len(more), words


def test_no_report_has_the_name_of_its_ensemble():
    """Which the command refuses, as the report's numbers would replace the ensemble's record."""
    seen = 0
    for page in PAGES:
        for words in commands(page):
            if words[0] == "compare" and "--out" in words:
                report = Path(words[words.index("--out") + 1])
                assert report.with_suffix("") != Path(words[1]).with_suffix(""), (page, words)
                seen += 1
    assert seen >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one(page, monkeypatch):
    if page.parent.name == "recipes":  # which speak of what a package from outside offers
        monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "tests/plugins/package")])
    for words in commands(page):
        parse(words)


@pytest.mark.parametrize("words", [["sample"], ["sample", "a", "--stepz", "4"], ["smaple", "a"]])
def test_the_parser_refuses_what_is_none(words):
    with pytest.raises(Exception, match="(?i)missing|no such"):
        parse(words)


def test_settings_that_are_none_are_refused():
    with pytest.raises(MolflowError, match="map.kin"):
        parse(["train", "a", "--data", "d", "--out", "o", "map.kin=langevin"])


def test_commands_are_found():
    assert ["systems"] in list(commands(DOCS / "how_to/systems.md"))
    continued = ["--lag", "20fs", "--chains", "64"]
    joined = [" ".join(words) for words in commands(DOCS / "how_to/propagate.md")]
    assert any(" ".join(continued) in line for line in joined)


@pytest.mark.parametrize("verb", list(VERBS.commands))
def test_every_verb_has_a_page_with_its_command(verb):
    page = DOCS / f"how_to/{verb}.md"
    assert any(words[0] == verb for words in commands(page))
    assert verb in (DOCS / "how_to/index.md").read_text(encoding="utf-8").split("toctree")[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_snippets_exist(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "molflow":
                assert hasattr(import_module("molflow"), node.attr)


@pytest.mark.parametrize("page", sorted((DOCS / "theory").glob("*.md")), ids=lambda page: page.stem)
def test_every_formula_points_to_code_and_test(page):
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        if "$$" in section and not section.startswith("# "):
            assert "{molflow}`" in section, section.partition("\n")[0]
        if "$$" in section and "testing.assert_" not in section:
            assert "{test}`" in section, section.partition("\n")[0]


def test_pointers_see_what_is_not_there():
    pointers = import_module("pointers")
    assert pointers.find("brownian.chen.join").__name__ == "join"
    with pytest.raises(LookupError):
        pointers.find("brownian.chen.joint")
    assert "test_pointers_see_what_is_not_there" in pointers.tests_in("docs/test_pages.py")
    assert not pointers.tests_in("docs/test_nothing.py")


def test_the_page_of_the_command_line_has_every_option():
    page = import_module("command_line_page").page()
    for name, verb in VERBS.commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in verb.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert all(f"{option}" in section for option in parameter.opts)
                assert (parameter.help or "").replace("|", "\\|") in section


def test_the_page_of_the_configuration_has_every_key():
    from molflow.training.configuration import TrainingConfig

    page = import_module("configuration_page").page()
    dump = TrainingConfig().model_dump()
    keys = [k for k in dump if not isinstance(dump[k], dict)]
    keys += [f"{k}.{inner}" for k in dump if isinstance(dump[k], dict) for inner in dump[k]]
    for key in keys:
        assert key.endswith(".kind") or f"| `{key}` |" in page, key


def test_the_page_of_the_metrics_has_every_metric():
    from molflow.analysis.metrics.registry import list_metrics

    page = import_module("metrics_page").page()
    assert all(f"\n`{row['name']}`\n: {row['title']}" in page for row in list_metrics())


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        ("(B, *shape) and |z|", r"(B, \*shape) and \|z\|"),
        ("`a * b` and ``|c|``", "`a * b` and ``|c|``"),
        (r"\*args", r"\*args"),
    ],
)
def test_docstrings_are_plain_text(line, escaped):
    assert import_module("plain_docstrings").escape(line) == escaped


@pytest.mark.parametrize("page", sorted((DOCS / "theory").glob("*.md")), ids=lambda page: page.stem)
def test_every_formula_is_translated(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for block, inline in re.findall(r"\$\$(.*?)\$\$|\$([^$]+)\$", text, re.DOTALL):
        assert import_module("mathml").mathml_of(block or inline, bool(block)).startswith("<math")


def test_commands_that_are_not_known_are_noticed():
    mathml = import_module("mathml")
    with pytest.raises(mathml.MathError, match="nothing"):
        mathml.mathml_of(r"\nothing", False)


def test_indices_of_accented_letters_stand_beside_them():
    mathml = import_module("mathml")
    found = mathml.tidy(mathml.tex2mathml(r"\bar F_2"))
    assert re.search(r"<msub>\s*<mover accent=\"true\">\s*<mi>F</mi>", found)
    assert "munderover" not in found
