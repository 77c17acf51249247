"""README and pages as a person reads them: every command line, in order, as it is written."""

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from molflow.cli import app

SCRIPT = Path(__file__).with_name("commands_as_written.py")
_SPEC = importlib.util.spec_from_file_location("commands_as_written", SCRIPT)
person = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = person
_SPEC.loader.exec_module(person)

LINES = [(page, line) for page in person.pages() for line in person.lines(page)]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    work = tmp_path_factory.mktemp("person")
    with open(work / "log", "w") as log:
        subprocess.run([sys.executable, SCRIPT, work], stdout=log, stderr=log, check=True)
    return json.loads((work / "lines.json").read_text())


def test_every_line_works_as_it_is_written(given):
    wrong = [f"{row['page']}: {row['line']}\n{row['text']}" for row in given if not row["right"]]
    assert not wrong, "\n\n".join(wrong)
    assert len(given) == sum(not line.startswith(tuple(person.UNRUN)) for _, line in LINES)
    every = {shlex.split(line, comments=True)[1] for line in person.UNRUN if "molflow" in line}
    every |= {shlex.split(row["line"])[1] for row in given}
    assert every == set(typer.main.get_command(app).commands)


def test_every_line_is_given_or_has_a_reason():
    strange = [
        (page.name, line) for page, line in LINES
        if not line.startswith(("molflow ", *person.UNRUN))
    ]  # fmt: skip
    assert not strange
    for begin, reason in person.UNRUN.items():
        assert any(line.startswith(begin) for _, line in LINES), begin
        for word in reason.split():
            assert not word.startswith("tests/") or (person.ROOT / word).is_file(), reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sample a --steps 4 -n 10000 --out e", "sample a --steps 4 -n 60 --out e"),
        ("simulate a --time 10ns --out md", "simulate a --time 1.2ps --out md"),
        ("train a --data d steps=500 --out o", "train a --data d --out o"),
    ],
)
def test_only_sizes_change_and_what_is_added_stands_at_the_end(line, expected):
    found, expected = person.smaller(line.split()), expected.split()
    assert found[: len(expected)] == expected
    assert all(word in person.SIZES[found[0]] for word in found[len(expected) :])


def test_words_and_their_order_stay():
    for _, line in LINES:
        words = shlex.split(line, comments=True)[1:]
        if not line.startswith("molflow ") or line.startswith(tuple(person.UNRUN)):
            continue
        found = [w for w in person.smaller(words) if not w.startswith("steps=")]
        words = [w for w in words if not w.startswith("steps=")]
        changed = [k for k, (a, b) in enumerate(zip(words, found, strict=False)) if a != b]
        for k in changed:  # the value of an option in the table
            assert found[k - 1] == words[k - 1] and words[k - 1].startswith("-"), line
