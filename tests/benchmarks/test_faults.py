"""Trials of the campaign of kills: what counts, and what is made again."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import faults
from killing import Ended

from molflow.files import read_json, write_json

#: Two ways, in turn: numbers 0, 3, ... at a moment, 1, 4, ... twice, 2, 5, ... at a late file.
VERB = faults.Scenario("verb", ["verb"], 3)


class Command:
    """A command of one second and one file, which goes on where it was killed."""

    def __init__(self):
        self.deaf, self.spoils = False, False
        self.done, self.kills = 0.0, []

    def __call__(self, words, folder, killer=None):
        if not any((folder / "out").iterdir()):
            self.done = 0.0
            (folder / "out/begun").touch()
        at = None if killer is None or self.deaf else killer.seconds
        killed = at is not None and at < 1.0 - self.done
        killed |= killer is not None and killer.replaced == 0 and not self.deaf
        took = 1.0 - self.done
        if killed:
            took = at or took
            self.kills.append(took)
            self.done += took
            return Ended(-9, took, 0, 0, True, "")
        (folder / "out/file").write_text("spoilt" if self.spoils and self.done else "right")
        return Ended(0, took, 1, 0, False, "")


@pytest.fixture
def command(monkeypatch):
    made = Command()
    monkeypatch.setattr(faults, "run", made)
    monkeypatch.setattr(faults, "SCENARIOS", [VERB])
    return made


def rows(work):
    campaign = faults.Campaign(work, 0)
    for _ in campaign.go([VERB], 1.0):
        pass
    return read_json(work / "rows.json")["verb"] if campaign.rows["verb"] else []


def test_every_kill_of_a_trial_comes_before_the_end(command, tmp_path):
    found = rows(tmp_path)
    assert [row["way"] for row in found] == ["moment", "twice", "files"]
    assert [len(row["kills"]) for row in found] == [1, 2, 1] and len(command.kills) == 4
    assert sum(command.kills[1:3]) < 1.0  # the second kill is in what the first had left
    assert faults.summarised({"verb": found})["kills"] == "3 of 3"


def test_a_trial_without_its_kill_is_made_again(command, tmp_path):
    command.deaf = True
    assert rows(tmp_path) == []
    command.deaf = False
    made = rows(tmp_path)
    # As if of the second trial one kill had never come, and of the third none.
    write_json(tmp_path / "rows.json", {"verb": [
        made[0], made[1] | {"kills": made[1]["kills"][:1]}, made[2] | {"kills": []},
    ]})  # fmt: skip
    command.kills = []
    again = rows(tmp_path)
    assert [row["number"] for row in again] == [0, 1, 2] and len(command.kills) == 3
    assert again[0] == made[0]


def test_what_was_wrong_stays_wrong(command, tmp_path):
    command.spoils = True
    found = rows(tmp_path)
    assert [row["wrong"] for row in found] == [["out/file differs"]] * 3
    command.spoils = False
    assert rows(tmp_path) == found
    assert faults.summarised({"verb": found})["kills"] == "0 of 3"
    without = found[0] | {"kills": [], "wrong": ["1 workers outlived their parent"]}
    write_json(tmp_path / "rows.json", {"verb": [without, *found[1:]]})
    assert rows(tmp_path)[0] == without
