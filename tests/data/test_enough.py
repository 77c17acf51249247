"""What a training set lacks is said before hours are spent."""

from molflow.data.enough import of_frames, of_simulation


def test_a_usual_simulation_lacks_nothing():
    assert of_simulation(10_000, 6) == []


def test_two_replicas_cannot_be_split():
    assert "2 replicas cannot be split" in of_simulation(10_000, 2)[0]
    assert "1 replica cannot be split" in of_simulation(10_000, 1)[0]


def test_short_runs_are_told_for_every_part():
    found = of_simulation(100, 6)  # three to train on, one to validate on, two held out
    assert [sentence.partition(" frames")[0] for sentence in found] == [
        "300 training", "100 validation", "200 held-out",
    ]  # fmt: skip


def test_what_is_not_known_is_not_told():
    assert of_frames({"train": 10_000, "validation": None, "held_out": None}) == []
