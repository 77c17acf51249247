"""The README as a person reads it: its commands, in their order, in an empty folder, one process.

Words and order are those of the page; sizes come from `SIZES`, and what a small run needs besides
from `BESIDES`. A command whose package is not installed here ends with a sentence that names it.
"""

import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from molflow.cli import app

ROOT = Path(__file__).parents[2]
#: What stands after these words on the page, and what is put there.
SIZES = {
    "simulate": {"--time": "4ps", "--replicas": "4", "--tempering": "300K:360K:2"},
    "sample": {"-n": "40", "--steps": "2"},
    "check": {"--steps": "1"},
    "study": {},
    "propagate": {"--time": "1ps", "--chains": "2"},
    "refine": {"--steps": "10"},
}
_TRAINING = [
    "network.scalars=8", "network.vectors=4", "network.heads=2", "network.layers=1",
    "network.pair_width=4", "map.order=2", "steps=6", "steps_per_epoch=3", "batch_size=6",
    "objective.local_steps=2", "validate_every=0", "learning_rate_warmup=2",
    "learning_rate_decay=3",
]  # fmt: skip
BESIDES = {
    "simulate": ["--frame-interval", "0.02ps", "--equilibration", "0.1ps", "--platform",
                 "Reference", "--jobs", "1"],
    "train": _TRAINING,
    "compare": ["--no-transport", "--jobs", "1"],
    "check": ["-n", "32", "--jobs", "1"],
    "study": ["--steps", "1,2", "-n", "40", "--seeds", "1"],
    "propagate": ["--save", "0.1ps"],
    "kinetics": ["--lag", "0.1ps", "--states", "2"],
    "refine": ["--jobs", "1"],
    "label": ["--jobs", "1"],
}  # fmt: skip
#: Options that are left out: minutes of a compiler; and verbs that are quiet when asked.
_WITHOUT, _LOUD = {"--compile"}, {"init", "prepare", "compare", "kinetics"}
#: Statuses of verbs that say what they found: a map of six steps fails its checks.
STATUS = {"check": (0, 1)}
#: Commands that need more than tiny sizes can give, and the sentence that they end with.
SENTENCES = {"kinetics": "longer|shorter lag|at least|crossings|too few"}
#: Packages that a word of a command needs.
NEEDS = {"gfn2-xtb": "tblite", "peptide-xtb": "tblite"}


def command_lines(text):
    """Return the commands of molflow of a page in their order, as lists of words."""
    lines = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    found = [shlex.split(x, comments=True) for x in lines.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in found if words[:1] == ["molflow"]]


def resized(words):
    """Return a command with sizes of seconds."""
    verb, words = words[0], [word for word in words if word not in _WITHOUT]
    for option, size in SIZES.get(verb, {}).items():
        if option in words:
            words[words.index(option) + 1] = size
    quiet = [] if verb in _LOUD else ["-q"]
    if "--weights" in words:
        words[words.index("-n") + 1] = "4"
        quiet += ["--jobs", "1"]
    if "--flatten" in words:
        quiet += ["--building", "4ps"]
    return words + BESIDES.get(verb, []) + quiet


def test_sizes_are_put_where_the_page_has_them():
    words = resized(["refine", "a.dcd", "--steps", "200"])
    assert words[:4] == ["refine", "a.dcd", "--steps", "10"]
    page = "text\n\n    molflow sample a --n 3 \\\n        --out b   # said\n    make demo\n"
    assert command_lines(page) == [["sample", "a", "--n", "3", "--out", "b"]]


def test_every_command_of_the_readme_works_in_its_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests/data/molecules/alanine_tripeptide.pdb", "peptide.pdb")
    (tmp_path / "systems/alanine_dipeptide").mkdir(parents=True)
    shutil.copy(ROOT / "systems/alanine_dipeptide/structure.pdb", "systems/alanine_dipeptide")
    pages = (ROOT / "README.md").read_text(encoding="utf-8")
    lines, told = command_lines(pages), []
    assert len(lines) >= 14
    for words in lines:
        missing = {NEEDS[w] for w in words if w in NEEDS and find_spec(NEEDS[w]) is None}
        found = CliRunner().invoke(app, resized(words))
        said = f"{' '.join(words)}\n{found.output[-1500:]}"
        print(said, file=sys.stderr)
        assert "Traceback" not in found.output and "unexpected error" not in found.output, said
        if missing:
            assert found.exit_code == 2 and "molflow: " in found.output, said
            continue
        if words[0] in SENTENCES and found.exit_code == 2:
            assert re.search(SENTENCES[words[0]], found.output), said
            continue
        assert found.exit_code in STATUS.get(words[0], (0,)), said
        told.append(words[0])
        if "--out" in words:
            assert Path(words[words.index("--out") + 1]).exists(), said
    assert {"init", "simulate", "prepare", "train", "sample", "compare", "check", "study",
            "propagate", "refine"} <= set(told)  # fmt: skip


@pytest.mark.parametrize("verb", sorted(BESIDES))
def test_what_is_put_beside_is_of_a_command_on_the_page(verb):
    lines = command_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    assert any(words[0] == verb for words in lines)
