import numpy as np
import pytest
from deeptime.markov.msm import MarkovStateModel
from kinetic_processes import CHAIN, passage_time, walk_chain

from molflow.analysis.kinetics.passage import (
    CORES,
    core_labels,
    exposure,
    passage_times,
)
from molflow.analysis.kinetics.time_series import TorsionSeries

#: A point in each core, rad.
PLACES = np.radians([[-80.0, 150.0], [-75.0, -20.0], [55.0, 30.0]])


def as_torsions(runs, interval=1.0):
    """Turn state labels into torsions that jump between the cores' middles."""
    return TorsionSeries(tuple(PLACES[run] for run in runs), interval)


def test_cores_go_round_the_circle():
    degrees = [[-80, 150], [-179, 179], [-80, -170], [-80, -150], [-70, -20], [60, 40], [0, 0]]
    assert core_labels(np.radians(degrees)).tolist() == [0, 0, 0, -1, 1, 2, -1]
    shares = [np.mean(core_labels(PLACES) == k) for k in range(len(CORES))]
    assert shares == pytest.approx([1 / 3] * 3)


def test_exposure_by_hand():
    #                  0  1  2  3  4   5  6  7  8  9
    labels = np.array([0, 0, -1, 1, 1, -1, 0, 2, 0, -1])
    assert exposure(labels, 0, 1) == (3 + 3, 1)  # frames 0 to 3, then 6 to the last, cut off
    assert exposure(labels, 1, 0) == (3, 1)
    assert exposure(labels, 0, 2) == (7 + 1, 1)
    assert exposure(labels, 2, 1) == (2, 0)


def test_passage_times_of_a_known_chain():
    rows = passage_times(as_torsions(walk_chain(CHAIN, 4000, 30), interval=2.0))
    names, covered = list(CORES), []
    for row in rows:
        exact = 2.0 * passage_time(CHAIN, names.index(row["start"]), names.index(row["end"]))
        low, high = row["interval_ps"]
        covered.append(low < exact < high)
        assert row["verdict"] == "resolved" and row["passages"] > 100
        assert row["value_ps"] == pytest.approx(exact, rel=0.15)
        assert row["sentence"].startswith(f"The mean passage from {row['start']} to {row['end']}")
    assert len(rows) == 6 and sum(covered) >= 4


def test_the_linear_equations_are_deeptimes():
    model = MarkovStateModel(CHAIN)
    for start, end in ((0, 2), (2, 0), (1, 2)):
        assert passage_time(CHAIN, start, end) == pytest.approx(model.mfpt(start, end))


def test_the_way_from_a_basin_of_two_states_begins_at_its_door():
    runs = walk_chain(CHAIN, 4000, 30, seed=1)
    counted = passage_times(as_torsions([np.where(run == 2, 1, 0) for run in runs]))[0]
    assert (counted["start"], counted["end"]) == ("beta", "alpha_r")
    assert counted["value_ps"] == pytest.approx(passage_time(CHAIN, 1, 2), rel=0.1)


def test_basins_that_are_never_visited_are_said_to_be():
    two = np.array([[0.95, 0.05], [0.05, 0.95]])
    rows = {(r["start"], r["end"]): r for r in passage_times(as_torsions(walk_chain(two, 2000, 5)))}
    there, back = rows["beta", "alpha_l"], rows["alpha_l", "beta"]
    assert there["verdict"] == back["verdict"] == "inconclusive"
    assert "alpha_l never visited in 10000 ps" in there["sentence"]
    # With exponential ways none of which arrives, 5 % is the chance of so much waiting.
    waited = there["at_least_ps"] * -np.log(0.05)
    assert 9500 < waited <= 10_000 and back["at_least_ps"] is None
    assert rows["beta", "alpha_r"]["verdict"] == "resolved"


def test_few_passages_are_inconclusive():
    labels = np.repeat([0, 1, 0, 1, 0], 200)
    row = passage_times(as_torsions([labels]))[0]
    assert row["passages"] == 2 and row["verdict"] == "inconclusive"
    assert row["interval_ps"] is None and row["value_ps"] == (200 + 200 + 199) / 2
    assert "2 passages in 1000 ps" in row["sentence"]
