"""The command line: help, exit statuses, and one sentence instead of a traceback."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

import molflow
from molflow import cli
from molflow.errors import MolflowError
from molflow.verbs import app as verb_app
from molflow.verbs.app import LOG_NAME

VERBS = [
    "systems", "init", "simulate", "prepare", "learn", "train", "sample", "refine", "compare",
    "resample", "check", "study", "estimate", "restrain", "reweight", "kinetics", "run", "demo",
]  # fmt: skip


def invoke(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@pytest.fixture
def verb_that(monkeypatch, tmp_path):
    """Return a function that replaces what `molflow demo` calls by one with a given body."""
    monkeypatch.chdir(tmp_path)

    def replace(body):
        module = types.ModuleType("molflow.demonstration")
        module.demo = body
        monkeypatch.setitem(sys.modules, "molflow.demonstration", module)

    return replace


def raising(error):
    def body(**_):
        raise error

    return body


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb):
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert verb in invoke("--help").stdout


def test_version():
    assert invoke("--version").stdout == f"molflow {molflow.__version__}\n"


def test_systems_lists_what_is_built_in():
    result = invoke("systems")
    assert result.exit_code == 0
    assert "alanine_dipeptide:beads6  6 atoms" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["sapmle"],
        ["simulate", "alanine_dipeptide"],
        ["simulate", "alanine_dipeptide", "--time", "1ps", "--out", "md", "--replicas", "0"],
        ["sample", "alanine_dipeptide", "--steps", "four"],
        ["demo", "-n", "many"],
    ],
)
def test_wrong_usage_exits_with_2(words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage:" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["simulate", "alanine", "--time", "1ps", "--out", "md"],
            "there is no system 'alanine': the built-in ones are alanine_dipeptide",
        ),
        (
            ["simulate", "alanine_dipeptide:tail", "--time", "1ps", "--out", "md"],
            "'alanine_dipeptide' has no selection 'tail': it has beads5, beads6, heavy.",
        ),
        (
            ["simulate", "alanine_dipeptide", "--time", "1kg", "--out", "md"],
            "'1kg', which is not a time: write a number with one of the units fs, ps, ns, us.",
        ),
        (
            ["prepare", "md", "--out", "data", "--train", "0-3"],
            "--train is '0-3', which is not a list of numbers of replicas: write for example 0,1,2",
        ),
        (["prepare", "md", "--out", "data"], "md"),
        (
            ["prepare", "md", "--out", "data", "--paths", "10"],
            "paths is 10, but forces is missing: give both or none.",
        ),
        (
            ["prepare", "md", "--out", "data", "--frictions", "1/ps,2/ps"],
            "frictions is 1/ps,2/ps, but paths is missing: give both.",
        ),
        (
            ["prepare", "md", "--out", "d", "--forces", "--paths", "9", "--frictions", "1/ps"],
            "--frictions is '1/ps': write two, for example 0.1/ps,10/ps.",
        ),
        (
            ["study", "alanine_dipeptide", "--steps", "1-16", "--out", "study"],
            "--steps is '1-16', which is not a list of numbers of steps: write for example 1,2,4.",
        ),
        (["train", "alanine", "--data", "data", "--out", "run"], "there is no system 'alanine'"),
        (["sample", "nowhere"], "nowhere"),
        (["sample", "alanine_dipeptide", "-n", "0"], "n is 0: it must be a whole number"),
        (["kinetics", "alanine_dipeptide", "--out", "x"], "has the right populations and no"),
        (["compare", "nothing.dcd", "--reference", "alanine_dipeptide"], "nothing.dcd"),
    ],
)
def test_what_the_caller_can_put_right_is_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("molflow: ") and result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert not (tmp_path / LOG_NAME).exists()


def test_molflow_error_exits_with_2(verb_that):
    verb_that(raising(MolflowError("n is 3, write 4.")))
    result = invoke("demo")
    assert (result.exit_code, result.stderr) == (2, "molflow: n is 3, write 4.\n")


def test_interruption_says_how_to_go_on(verb_that):
    verb_that(raising(KeyboardInterrupt()))
    result = invoke("demo")
    assert result.exit_code == 130
    assert result.stderr == "molflow: interrupted; run the same command again to resume\n"


def test_unexpected_error_leaves_its_traceback_in_a_log(verb_that, tmp_path):
    verb_that(raising(ZeroDivisionError("division by zero")))
    result = invoke("demo")
    assert result.exit_code == 1
    assert result.stderr == (
        "molflow: unexpected error, ZeroDivisionError: division by zero "
        f"(the traceback is in '{tmp_path / LOG_NAME}')\n"
    )
    log = (tmp_path / LOG_NAME).read_text(encoding="utf-8")
    assert log.startswith("Traceback") and log.endswith("ZeroDivisionError: division by zero\n")


def test_log_goes_elsewhere_when_the_folder_cannot_be_written(verb_that, tmp_path, monkeypatch):
    verb_that(raising(ZeroDivisionError("division by zero")))
    (tmp_path / LOG_NAME).mkdir()  # writing this name fails, for root too
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(verb_app.tempfile, "gettempdir", lambda: str(elsewhere))
    result = invoke("demo")
    assert result.exit_code == 1
    assert str(elsewhere / LOG_NAME) in result.stderr
    assert (elsewhere / LOG_NAME).read_text(encoding="utf-8").startswith("Traceback")


def test_options_reach_the_function(verb_that):
    given = {}
    verb_that(lambda **options: given.update(options))
    words = "demo -n 5 --steps 2 --path-seed 3 --out x --quiet".split()
    assert invoke(*words).exit_code == 0
    assert given == {"out": Path("x"), "n": 5, "steps": 2, "path_seed": 3, "progress": False}


def test_it_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "molflow.cli", "simulate", "nothing", "--time", "1ps", "--out", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("molflow: there is no system 'nothing'")
