"""The verb: what it returns, prints and writes, and its exit status."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import molflow
from molflow import cli
from molflow.checking.check import format_findings
from molflow.errors import MolflowError
from molflow.verbs import checking

NAMES = [
    "equivariance", "semigroup", "convergence", "chirality", "energy_tail",
    "stationary_energy", "stationary_basins",
]  # fmt: skip


@pytest.fixture(scope="module")
def small(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("check") / "check.json"
    result = molflow.check(checkpoint, steps=1, n=32, out=out, jobs=1, progress=False)
    return result, out


def test_every_property_is_told_with_number_limit_and_sentence(small, checkpoint):
    result, out = small
    assert [row["name"] for row in result["findings"]] == NAMES
    assert json.loads(out.read_text(encoding="utf-8")) == result
    assert result["weights_sha256"] == checkpoint.weights_hash and result["n"] == 32
    for row in result["findings"]:
        assert row["verdict"] in ("pass", "fail", "inconclusive")
        assert row["limit"] > 0 and row["sentence"].endswith(".")


def test_few_samples_leave_things_open_and_do_not_fail(small):
    verdicts = {row["name"]: row["verdict"] for row in small[0]["findings"]}
    assert verdicts["equivariance"] == "pass"
    for name in ("semigroup", "convergence", "chirality", "stationary_energy"):
        assert verdicts[name] == "inconclusive", name


def test_table_has_every_sentence(small):
    text = format_findings(small[0])
    joined = " ".join(text.split())
    for row in small[0]["findings"]:
        assert row["title"] in text
    assert "alanine_dipeptide at 1 network calls, 32 samples:" in joined
    assert max(map(len, text.splitlines()[:-1])) <= 100


@pytest.mark.parametrize(("verdict", "status"), [("pass", 0), ("inconclusive", 0), ("fail", 1)])
def test_exit_status(verdict, status, monkeypatch):
    from molflow.checking import check as module

    row = {
        "title": "Chirality", "verdict": verdict, "value": 0.5, "limit": 0.001,
        "sentence": "Half of them.",
    }  # fmt: skip
    result = {"verdict": verdict, "findings": [row], "system": "x", "nfe": 4, "n": 8}
    monkeypatch.setattr(module, "check", lambda *_, **__: result)
    monkeypatch.setattr(checking, "open_for", lambda *_: None)
    done = CliRunner().invoke(cli.app, ["check", "x", "-q"])
    assert done.exit_code == status and done.stderr == ""
    assert verdict in done.stdout and "Half of them." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n": 0}, "n is 0: it must be a whole number, at least 1."),
        ({"steps": 2.0}, "steps is 2.0"),
        ({"out": "check.txt"}, "give the name of a JSON file"),
    ],
)
def test_impossible_arguments_are_refused(checkpoint, arguments, sentence):
    with pytest.raises(MolflowError, match=sentence):
        molflow.check(checkpoint, progress=False, **arguments)


def test_a_coarse_map_has_no_energies_and_may_fail():
    """The frozen checkpoint of six beads was trained for a second."""
    coarse = Path(__file__).parents[1] / "data/checkpoint-v1"
    result = molflow.check(coarse, steps=1, n=256, progress=False)
    found = {row["name"]: row for row in result["findings"]}
    assert found["equivariance"]["verdict"] == "pass"
    for name in ("energy_tail", "stationary_energy", "stationary_basins"):
        assert found[name]["verdict"] == "inconclusive" and found[name]["value"] is None
    assert found["convergence"]["verdict"] == "fail"
    assert found["convergence"]["sentence"].endswith("at 1 steps the answer is still far from "
                                                     "settled.")  # fmt: skip
    assert found["chirality"]["value"] > 0.2 and result["verdict"] == "fail"


def test_a_map_of_an_unknown_system_is_judged_by_what_remains(checkpoint):
    from dataclasses import replace

    from molflow.checking.energy_tail import energy_tail
    from molflow.checking.subject import Subject

    other = replace(checkpoint, description=checkpoint.description | {"system": "unheard_of"})
    subject = Subject(other, 1, 64, 0)
    assert subject.force_field is None and subject.reference is None
    assert energy_tail(subject).verdict == "inconclusive"
