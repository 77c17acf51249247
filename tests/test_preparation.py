"""Training sets in Python have what those of the command line have."""

import inspect

import pytest

import molflow
from molflow.errors import MolflowError
from molflow.verbs import data


def test_the_command_line_asks_for_nothing_that_python_lacks():
    options = set(inspect.signature(data.prepare).parameters) - {"threads"}
    assert options <= set(inspect.signature(molflow.prepare).parameters)


@pytest.fixture
def calls(monkeypatch):
    """Put what is written, and by whom, in the place of long work."""
    made = []

    def writes(name):
        def add(*given, **options):
            made.append((name, *given))
            return {name: True}

        return add

    monkeypatch.setattr("molflow.preparation.write_training_set", writes("frames"))
    monkeypatch.setattr("molflow.md.forces.add_forces", writes("forces"))
    monkeypatch.setattr("molflow.driven_paths.add_paths", writes("paths"))
    monkeypatch.setattr("molflow.foreign_trajectories.gather", lambda files, system, out, **_: out)
    return made


def test_forces_and_paths_are_added_in_their_order(calls, tmp_path):
    manifest = molflow.prepare(
        tmp_path, tmp_path / "data", "s", [0], [1], forces=True, hot="600K", paths=10,
        frictions=("0.5/ps", 2.0),
    )  # fmt: skip
    out = tmp_path / "data"
    assert calls == [
        ("frames", tmp_path, out, "s", [0], [1]),
        ("forces", out, "s", "600K"),
        ("paths", out, 10, (0.5, 2.0), "s"),
    ]
    assert set(manifest) == {"frames", "forces", "paths"}


def test_trajectories_are_gathered_first(calls, tmp_path):
    files = [tmp_path / "a.dcd", tmp_path / "b.dcd"]
    molflow.prepare(files, tmp_path / "data", "s", temperature="300K", frame_interval="1ps")
    assert calls == [("frames", tmp_path / "data" / "frames", tmp_path / "data", "s", None, None)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"paths": 10}, "paths is 10, but forces is missing: give both or none"),
        ({"hot": "600K"}, "hot is 600K, but forces is missing"),
        ({"forces": True, "frictions": (1.0, 2.0)}, "frictions is 1.0,2.0, but paths is missing"),
        ({"temperature": "300K"}, "temperature is for trajectories, and '.*' is a folder"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(calls, tmp_path, options, sentence):
    with pytest.raises(MolflowError, match=sentence):
        molflow.prepare(tmp_path, tmp_path / "data", **options)
    assert not calls


def test_trajectories_that_say_nothing_of_themselves_are_a_sentence(calls, tmp_path):
    with pytest.raises(MolflowError, match="are of: give system and frame_interval, or the folder"):
        molflow.prepare([tmp_path / "a.dcd"], tmp_path / "data", temperature="300K")
