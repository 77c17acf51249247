"""A potential of one's own, learned from frames that the map finds itself."""

import json

import numpy as np
import pytest
import torch
from own_potential import WORDS
from typer.testing import CliRunner

import molflow.active.plan as plan
import molflow.active.rounds as rounds
from molflow import cli
from molflow.active.disagreement import disagreement, learned_forces, most_doubtful
from molflow.active.explore import explore
from molflow.active.learn import learn
from molflow.analysis.molecule.graph import with_bonds
from molflow.errors import MolflowError
from molflow.md.energies import evaluate
from molflow.training.checkpoint import load_checkpoint

#: Steps of both maps, few of them.
TINY = [*WORDS, "validate_every=100000", "steps=20"]


@pytest.fixture
def learned(tmp_path, own, monkeypatch):
    """The potential, a folder and how it is learned, in two rounds from no frames at all."""
    monkeypatch.setattr(plan, "ROUNDS", 2)
    monkeypatch.setattr(rounds, "CHOICE", 2)
    stiff = own("stiff", 40.0)
    asked = {"labels": 400, "budget": "1h", "limit": 1e-6, "overrides": TINY, "jobs": 1,
             "progress": False}  # fmt: skip
    return stiff, tmp_path / "run", asked


def test_from_a_structure_to_a_map_in_rounds(learned, monkeypatch):
    stiff, out, asked = learned
    whole = rounds.train
    calls = []

    def interrupted(*arguments, **options):
        calls.append(arguments[2].relative_to(out).as_posix())
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(rounds, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(stiff, out, **asked)
    monkeypatch.setattr(rounds, "train", whole)
    labels = (out / "round-0" / "labels" / "labelling-0000000.npz").stat().st_mtime_ns
    found = learn(stiff, out, **asked)
    assert calls == ["round-0/map", "round-0/second", "round-1/map", "round-1/second"]
    # What was labelled before the interruption was not labelled again.
    assert (out / "round-0" / "labels" / "labelling-0000000.npz").stat().st_mtime_ns == labels
    # A fourth of the labels went to dynamics, the others to two rounds.
    assert found["force_calls"] == 400 and [row["labels"] for row in found["rows"]] == [24, 304]
    assert found["stopped"].startswith("Stopped because all labels are spent")
    assert json.loads((out / "learn.json").read_text()) == found
    assert found["rows"][0]["error_before"] is None and found["rows"][1]["error_before"] > 0.0
    # The frames of a round are those that both maps before disagreed on most.
    parts = sorted((out / "round-1" / "labels").glob("*.npz"))
    energies = np.concatenate([np.load(part)["energies"] for part in parts])
    new = np.load(out / "round-0" / "explored.npz")["positions"]
    maps = [load_checkpoint(out / "round-0" / name / "checkpoint").flow_map
            for name in ("map", "second")]  # fmt: skip
    doubts = disagreement(*maps, new)
    taken = new[most_doubtful(doubts, 280)]
    assert np.allclose(energies, evaluate(stiff, taken).energies, atol=1e-3)
    # The map of the last round is the one that is given, and it knows the potential.
    last = load_checkpoint(out / "checkpoint")
    assert last.weights_hash == load_checkpoint(out / "round-1" / "map" / "checkpoint").weights_hash
    true = evaluate(stiff, new[:50]).forces
    off = learned_forces(last.flow_map, new[:50]) - true
    assert np.sqrt(np.mean(off**2) / np.mean(true**2)) < 0.2
    with pytest.raises(MolflowError, match="was begun with other arguments"):
        learn(stiff, out, **asked | {"labels": 401})
    molecules_that_break_are_counted(stiff, last.flow_map)


def molecules_that_break_are_counted(system, flow_map):
    topology = with_bonds(system.topology(), system.start_positions())
    starts = np.repeat(system.start_positions()[None], 4, axis=0).astype(np.float64)
    sound = explore(flow_map, topology, starts, 5, 300.0, 1)
    assert sound.positions.shape == (20, 3, 3) and not sound.broken
    again = explore(flow_map, topology, starts, 5, 300.0, 1)
    assert np.array_equal(sound.positions, again.positions)
    starts[0, 1] += 0.2  # a hydrogen that is 0.2 nm away along all axes
    torn = explore(flow_map, topology, starts, 5, 300.0, 1)
    assert len(torn.positions) + sum(torn.broken.values()) == 20 and len(torn.positions) >= 15
    assert all("bond of atoms 0 and 1 broke" in why or "no molecule" in why for why in torn.broken)
    assert torn.broken


def test_the_disagreement_is_the_error_of_two_independent_maps():
    """Forces that are off by noise of one size each."""
    generator = torch.Generator().manual_seed(0)

    class Off(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unit = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

        def force(self, x):
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            return self.unit * x**2 + 3.0 * noise

    found = disagreement(Off(), Off(), np.ones((40, 200, 3)))
    assert found.shape == (40,) and found.mean() == pytest.approx(3.0, rel=0.02)


def test_the_most_doubtful_come_in_the_order_of_frames():
    assert most_doubtful(np.array([3.0, 9.0, 1.0, 9.0, 4.0]), 3).tolist() == [1, 3, 4]
    assert most_doubtful(np.array([1.0, 2.0]), 5).tolist() == [0, 1]


def test_arguments_that_are_impossible_are_sentences(learned, tmp_path):
    stiff, out, asked = learned
    for wrong, words in (
        ({"labels": 3}, "labels is 3: give a whole number, 400 or more"),
        ({"limit": 2.0}, "limit is 2: give a share"),
        ({"budget": "1s"}, "give at least 60 seconds"),
        ({"frames": tmp_path / "none.dcd"}, "there is no"),
    ):
        with pytest.raises(MolflowError, match=words):
            learn(stiff, out, **asked | wrong)
    words = ["learn", str(stiff.folder), "--out", str(out), "--labels", "3"]
    said = CliRunner().invoke(cli.app, words)
    assert said.exit_code == 2 and "labels is 3" in said.stderr
