import numpy as np
import pytest
from kinetic_processes import CHAIN, exact_model, ornstein_uhlenbeck, walk_chain

from molflow.analysis.kinetics.markov import (
    chapman_kolmogorov,
    count_matrices,
    crossings,
    estimate,
    implied_timescales,
)
from molflow.errors import MolflowError


@pytest.fixture(scope="module")
def runs():
    return walk_chain(CHAIN, 3000, 20)


def exact_timescales(matrix):
    values = np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1]
    return -1 / np.log(values[1:])


def test_states_that_are_left_for_good_are_a_sentence():
    with pytest.raises(MolflowError, match="no state is left and come back to at a lag of 5"):
        estimate(np.array([[0.0, 1.0], [0.0, 0.0]]), 5)


def test_counts_are_those_of_a_sliding_window():
    members = [np.array([0, 1, 1, 2, 0, 1]), np.array([2, 2])]
    counts = count_matrices(members, 2, 4)
    expected = np.zeros((2, 4, 4))
    for a, b in zip(members[0][:-2], members[0][2:], strict=True):
        expected[0, a, b] += 1
    assert np.array_equal(counts, expected)


def test_time_scales_of_a_known_chain(runs):
    rows = implied_timescales(runs, [1, 5, 10], 2.0, states=3, processes=2)
    exact = 2.0 * exact_timescales(CHAIN)
    for row in rows:
        truth = exact[row["process"]]
        assert row["verdict"] == "resolved" and row["reason"] == ""
        low, high = row["interval_ps"]
        assert low < row["value_ps"] < high and high < 1.5 * low
        assert row["value_ps"] == pytest.approx(truth, rel=0.12)
    covered = [row["interval_ps"][0] < exact[row["process"]] < row["interval_ps"][1]
               for row in rows]  # fmt: skip
    assert sum(covered) >= 4


def test_the_estimate_is_deeptimes_of_the_whole_data(runs):
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM

    counts = TransitionCountEstimator(5, "sliding").fit_fetch(runs)
    expected = MaximumLikelihoodMSM().fit_fetch(counts).timescales(2)
    rows = implied_timescales(runs, [5], 1.0, states=3, processes=2)
    assert [row["value_ps"] for row in rows] == pytest.approx(list(expected), rel=1e-6)


def test_time_scale_of_an_ornstein_uhlenbeck_process():
    walked = ornstein_uhlenbeck(0.05, 5000, 20)
    edges = np.quantile(np.concatenate(walked), np.linspace(0, 1, 31)[1:-1])
    labels = [np.digitize(run, edges) for run in walked]
    (slow, second) = implied_timescales(labels, [10], 1.0, states=30, processes=2)
    assert slow["value_ps"] == pytest.approx(20.0, rel=0.08)
    assert second["value_ps"] == pytest.approx(10.0, rel=0.15)  # eigenvalues exp(-n rate t)


def test_what_was_hardly_seen_or_is_too_fast_is_inconclusive():
    rare = np.array([[0.9999, 0.0001], [0.0001, 0.9999]])
    labels = walk_chain(rare, 4000, 10, seed=4)
    (row,) = implied_timescales(labels, [5], 1.0, states=2, processes=1)
    assert row["crossings"] < 10 and row["verdict"] == "inconclusive"
    assert row["reason"].startswith(f"it was crossed {row['crossings']} times")
    fast = walk_chain(np.array([[0.6, 0.4], [0.4, 0.6]]), 4000, 10)
    (row,) = implied_timescales(fast, [5], 1.0, states=2, processes=1)
    assert row["reason"] == "it is faster than the lag time of 5 ps."
    short = walk_chain(CHAIN, 400, 2)
    rows = implied_timescales(short, [50], 1.0, states=3, processes=1)
    assert rows[0]["interval_ps"] is None and rows[0]["verdict"] == "inconclusive"


def test_a_state_that_is_never_visited_changes_nothing(runs):
    with_hole = [np.where(run == 2, 3, run) for run in runs]
    a = implied_timescales(runs, [5], 1.0, states=3)[0]
    b = implied_timescales(with_hole, [5], 1.0, states=5)[0]
    assert a["value_ps"] == pytest.approx(b["value_ps"], rel=1e-9)
    assert a["crossings"] == b["crossings"]
    assert implied_timescales(runs, [5], 1.0, states=3)[2]["value_ps"] is None


def test_crossings_are_counted_from_end_to_end():
    model = exact_model(CHAIN)
    # State 1 lies between the ends: going into it and back is no crossing.
    runs = [np.array([0, 0, 1, 0, 1, 2, 2, 1, 2, 0]), np.array([2, 1, 0])]
    vector = np.asarray(model.eigenvectors_right(2))[:, 1].real
    assert np.argsort(vector).tolist() in ([0, 1, 2], [2, 1, 0])
    assert crossings(runs, model, 0) == 3


def test_chapman_kolmogorov_holds_for_a_chain(runs):
    found = chapman_kolmogorov(runs, 2, [2, 4, 8], states=3)
    assert found["verdict"] == "pass" and found["largest"] < 0.03
    # Against powers of the true matrix, from its stationary distribution in each set.
    values, vectors = np.linalg.eig(CHAIN.T)
    stationary = np.abs(vectors[:, np.argmax(values.real)].real)
    for row in found["rows"]:
        inside = found["assignment"] == row["set"]
        start = np.where(inside, stationary, 0)
        back = start / start.sum() @ np.linalg.matrix_power(CHAIN, 2 * row["multiple"])
        assert row["estimated"] == pytest.approx(back[inside].sum(), abs=0.03)
        assert row["predicted"] == pytest.approx(back[inside].sum(), abs=0.03)


def test_prediction_is_deeptimes_propagation(runs):
    found = chapman_kolmogorov(runs, 2, [4], states=3)
    model = estimate(count_matrices(runs, 2, 3).sum(axis=0), 2)
    for row in found["rows"]:
        inside = found["assignment"] == row["set"]
        start = np.where(inside, model.stationary_distribution, 0)
        later = model.propagate(start / start.sum(), 4)
        assert row["predicted"] == pytest.approx(later[inside].sum(), rel=1e-9)


def test_chapman_kolmogorov_fails_where_memory_is_hidden():
    """A lump of a quick and a sticky state remembers how long one has been in it."""
    hidden = np.array([
        [0.60, 0.10, 0.30, 0.00], [0.01, 0.99, 0.00, 0.00],
        [0.30, 0.00, 0.60, 0.10], [0.00, 0.00, 0.01, 0.99],
    ])  # fmt: skip
    lumped = [np.where(run < 2, 0, 1) for run in walk_chain(hidden, 4000, 40, seed=2)]
    found = chapman_kolmogorov(lumped, 1, [2, 10, 30], states=2)
    assert found["verdict"] == "fail"
    # A jump is likely to be taken back, so that steps predict that more is forgotten.
    assert found["rows"][2]["predicted"] < found["rows"][2]["estimated"] - 0.05


def test_chapman_kolmogorov_of_little_data_is_inconclusive():
    found = chapman_kolmogorov(walk_chain(CHAIN, 100, 3), 2, [2, 4], states=3)
    assert found["verdict"] == "inconclusive"
