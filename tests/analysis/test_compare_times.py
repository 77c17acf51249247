"""Slow times beside those of a reference: which states both know, and when times agree."""

import numpy as np
import pytest

from molflow.analysis.kinetics.compare_times import connected, ratio, within


def known(value, verdict="resolved"):
    return {"value_ps": value, "interval_ps": [80.0, 150.0], "verdict": verdict}


def test_times_agree_within_a_quarter_or_the_interval():
    assert ratio(known(124.0), known(100.0)) == {"value": pytest.approx(1.24), "agrees": True}
    assert ratio(known(145.0), known(100.0))["agrees"] is True
    assert ratio(known(160.0), known(100.0))["agrees"] is False
    assert ratio(known(100.0), known(100.0, "inconclusive"))["agrees"] is None
    assert ratio(known(None), known(100.0)) == {"value": None, "agrees": None}


def test_times_are_of_states_that_both_go_to_and_fro_between():
    there_and_back = np.array([0, 1, 0, 1, 1, 0, 2, 2, 0, 1])
    never_back = np.array([0, 1, 1, 0, 0, 1, 2, 2])
    both = [connected([run], 1, 4) for run in (there_and_back, never_back)]
    assert both[0].tolist() == [True, True, True, False]
    assert both[1].tolist() == [True, True, False, False]
    parts = within([there_and_back], both[0] & both[1], 2)
    assert [part.tolist() for part in parts] == [[0, 1, 0, 1, 1, 0]]
    assert len(within([there_and_back], both[0] & both[1], 1)) == 2
