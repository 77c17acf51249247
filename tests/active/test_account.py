"""Why rounds end, and what is said of them."""

import pytest

from molflow.active.account import account_of, draw_curve, why_it_stops


def row(labels=100, high=0.05, **more):
    doubt = None if high is None else {"median": 0.5 * high, "high": high}
    return {
        "labels": labels, "failed": {}, "broken": {}, "error": 0.03, "error_before": None,
        "disagreement": doubt, "looked_at": 500, "seconds": 12.0,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("high", "following", "left", "words"),
    [
        (0.05, (10,), 100.0, None),
        (0.01, (10,), 100.0, "at most 1.00% of the force, below the limit of 2.00%"),
        (0.05, (), 100.0, "all labels are spent: .* at most 5.00% .* limit is 2.00%"),
        (0.05, (10,), 0.0, "the time is over: .* at most 5.00%"),
        (None, (10,), 100.0, "no chain of the map kept a whole molecule"),
    ],
)
def test_it_says_why_it_stops(high, following, left, words):
    import re

    found = why_it_stops([row(), row(high=high)], following, 0.02, left)
    assert found is None if words is None else re.search(words, found)


def test_broken_molecules_and_frames_without_labels_are_counted_over_rounds(tmp_path):
    rows = [
        row(failed={"the bond of atoms 0 and 1 broke": 2}, broken={"atoms 1 and 2 met": 1}),
        row(200, 0.03, broken={"atoms 1 and 2 met": 4, "it heated up": 1}, error_before=0.08),
    ]
    said = account_of(rows, 50, "Stopped.")
    assert said[0] == "50 steps of dynamics under the potential made the first frames."
    assert "200 labels, error of the force 3.00%, 8.00% by the map before on the new" in said[2]
    assert said[3:] == [
        "2 frames have no label: the bond of atoms 0 and 1 broke.",
        "5 times a chain ended: atoms 1 and 2 met.", "1 times a chain ended: it heated up.",
        "Stopped.",
    ]  # fmt: skip
    draw_curve([*rows, row(high=None)], 0.02, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[1:4] == b"PNG"
