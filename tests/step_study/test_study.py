"""`molflow study` end to end at a tiny size, and that it goes on where it stopped."""

import json

import pytest

import molflow
from molflow.errors import MolflowError
from molflow.step_study import pieces

SYSTEM = "alanine_dipeptide"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(pieces, "SAME_PATH_N", 16)
    monkeypatch.setattr(pieces, "FINEST", 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


def run(folder, **changes):
    arguments = {"steps": [2, 1], "n": 64, "seeds": 1, "progress": False} | changes
    return molflow.study(SYSTEM, folder, **arguments)


def broken_off(*_, **__):
    raise RuntimeError("compared again")


def test_study_writes_table_figure_and_numbers(folder):
    result = run(folder)
    assert list(result["summary"]["quality"]) == ["1", "2"]
    closeness = result["summary"]["same_path_rmsd_nm"]
    assert 0 < closeness["2"]["mean"] < closeness["1"]["mean"] < closeness["unrelated"]["mean"]
    assert json.loads((folder / "study.json").read_text(encoding="utf-8")) == result
    text = (folder / "study.md").read_text(encoding="utf-8")
    assert text.count("\n") == 4 and " of 64 |" in text
    for name in ("study.png", "study.pdf"):
        assert (folder / name).stat().st_size > 5000
    row = result["per_seed"]["1"][0]
    assert row["fes_rmse"]["value"] > 0 and row["fes_rmse"]["floor"] > 0
    assert row["energy_w2"]["value"] > row["energy_w2"]["floor"] > 0  # in one step bonds are wide
    assert result["summary"]["quality"]["1"]["fes_rmse"] == row["fes_rmse"]["value"]


def test_what_is_done_is_not_done_again(folder, monkeypatch):
    monkeypatch.setattr(pieces, "compare", broken_off)
    monkeypatch.setattr(pieces.Pieces, "_shared_paths", broken_off)
    assert run(folder, steps=[1])["summary"]["quality"].keys() == {"1"}
    for changes in ({"n": 65}, {"steps": [1, 3]}, {"seeds": 2}):
        with pytest.raises(RuntimeError, match="compared again"):
            run(folder, **changes)


def test_another_reference_is_another_request(folder, monkeypatch):
    monkeypatch.setattr(pieces, "compare", broken_off)
    monkeypatch.setattr(pieces, "_digest", lambda _: "another")
    with pytest.raises(RuntimeError, match="compared again"):
        run(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": []}, "steps is empty"),
        ({"steps": [4, 0]}, "steps is 0: it must be a whole number, at least 1"),
        ({"n": 0}, "n is 0"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, changes, sentence):
    with pytest.raises(MolflowError, match=sentence):
        run(tmp_path / "study", **changes)
    assert not (tmp_path / "study").exists()
