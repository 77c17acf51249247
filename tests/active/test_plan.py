"""How labels and time are dealt out."""

import pytest

from molflow.active.plan import Sizes, training_seconds


@pytest.mark.parametrize(
    ("labels", "at_hand", "sizes"),
    [
        (20_000, 16_000, (10_000, 3_334, 3_333, 3_333)), (20_000, 500, (500, 6_500, 6_500, 6_500)),
        (7, 9, (4, 1, 1, 1)), (3, 9, (2, 1)), (1, 1, (1,)),
    ],
)  # fmt: skip
def test_all_labels_are_dealt_out(labels, at_hand, sizes):
    assert Sizes.of(labels, at_hand).of_round == sizes and sum(sizes) == labels


def test_the_time_of_a_round_leaves_room_for_its_chains_and_for_all_labels():
    both = training_seconds(left=1000.0, labelling=200.0, rounds=4)
    assert both == pytest.approx((130.0, 40.0)) and sum(both) < 200.0
    # A budget that labels alone would spend still trains a little.
    assert 0.0 < training_seconds(left=10.0, labelling=200.0, rounds=2)[1] < 1.0
