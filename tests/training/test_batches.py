import math

import numpy as np
import pytest
import torch

from molflow.maps.denoiser.batches import StepBatches, TimeLaw, local_counts, scaled_positions
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserObjectiveConfig
from molflow.training.fit import Epoch

DURATION, SIGMA_MAX = math.log(5000), 10.0


FOCUS = math.log(SIGMA_MAX / 0.4)
CLOCK = StepClock(DURATION, FOCUS, 6.0)


def law(**objective):
    return TimeLaw(CLOCK, DenoiserObjectiveConfig(**objective))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_local_times_lie_on_the_clock_and_one_in_each_stratum():
    for seed in range(20):
        times = law(focus_share=0.25).local(64, generator(seed))
        assert times.shape == (64,) and times.min() >= 0 and times.max() <= DURATION
        strata = torch.floor(times[:48] / DURATION * 48).long()
        assert sorted(strata.tolist()) == list(range(48))


def test_focused_times_are_normal_about_the_focus():
    times = law(focus_share=1.0).local(20000, generator())
    assert float(times.mean()) == pytest.approx(FOCUS, abs=4 / 20000**0.5)
    assert float(times.std()) == pytest.approx(1.0, abs=0.02)


def test_long_steps_have_log_uniform_lengths_in_three_ranges():
    """One range on the clock of the equation, one on that of the jumps, one on the first."""
    anchor, typical = (1 / 256, 1 / 32), (0.1, 0.8)
    made = law(anchor_share=0.2, anchor=anchor, typical_share=0.5, typical=typical)
    count = 5000
    assert made.anchored(count) == 1000
    start, end = made.long(count, generator())
    assert start.min() >= 0 and end.max() <= DURATION * (1 + 1e-6)
    assert start.dtype == end.dtype == torch.float32
    plain, warped = torch.stack([start, end]) / DURATION, CLOCK.position(torch.stack([start, end]))
    parts = (
        (slice(0, 1000), plain, *anchor),
        (slice(1000, 3000), warped / CLOCK.length, *typical),
        (slice(3000, count), plain, 1 / 32, 1),
    )
    for part, ends, low, high in parts:
        first, last = ends[:, part].double()
        length = last - first
        share = torch.log(length / low) / math.log(high / low)
        # Stratified: the k-th share lies in [k, k + 1] / number.
        number = len(share)
        assert (share * number - torch.arange(number) - 0.5).abs().max() < 0.6
        where = (first / (1.0 - length))[length < 0.99]
        assert float(where.mean()) == pytest.approx(0.5, abs=4 * 0.29 / len(where) ** 0.5)
        assert float(where.var()) == pytest.approx(1 / 12, rel=0.1)


def test_shares_of_long_steps_may_be_nothing_or_all():
    for anchored, typical in ((0.0, 0.0), (1.0, 0.5), (0.0, 1.0)):
        made = law(anchor_share=anchored, typical_share=typical)
        start, end = made.long(7, generator())
        assert start.shape == end.shape == (7,) and (end > start).all()
        assert made.anchored(7) == round(7 * anchored)
    assert law().long(0, generator())[0].shape == (0,)


def batches(seed=0, epoch=0, local=(4, 4, 6), rank=0):
    positions = torch.randn(50, 5, 3, generator=generator(9))
    return StepBatches(
        positions - positions.mean(1, keepdim=True), law(), 3, 6, list(local), seed,
        Epoch(epoch, 0, len(local), rank, 2),
    )  # fmt: skip


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])) for name in first
    )


def test_a_batch_depends_on_seed_epoch_index_and_process_alone():
    one = batches()
    torch.randn(100)  # the global generator has no say
    again = batches()
    assert same(one[1], again[1]) and same(one[0], again[0])
    others = (one[0], batches(seed=1)[1], batches(epoch=1)[1], batches(rank=1)[1])
    for other in others:
        assert not torch.equal(other["normal"], one[1]["normal"])
        assert not torch.equal(other["left"], one[1]["left"])


def test_what_a_batch_holds():
    items = batches()
    assert len(items) == 3
    batch = items[0]
    assert batch["clean"].shape == batch["normal"].shape == (6, 5, 3)
    assert batch["anchored"] == items.law.anchored(2)
    assert batch["local_time"].shape == (4,) and batch["start"].shape == (2,)
    assert batch["left"].shape == batch["right"].shape == (2, 5, 3, 3)
    for name in ("normal", "left", "right"):
        assert batch[name].mean(1).abs().max() < 1e-6
    assert items[2]["start"].shape == (0,) and items[2]["local_time"].shape == (6,)
    # every molecule is one of the data
    distance = (batch["clean"][:, None] - items.positions[None]).abs().amax((2, 3))
    assert distance.min(1).values.max() == 0


def test_noise_has_unit_variance_in_the_centred_space():
    items = StepBatches(torch.zeros(1, 5, 3), law(), 3, 4000, [2000], 0, Epoch(0, 0, 1))
    for name in ("normal", "left", "right"):
        assert float(items[0][name].var()) == pytest.approx(0.8, rel=0.02)


def test_local_counts_follow_the_number_of_the_step():
    config = DenoiserObjectiveConfig(local_steps=5, local_share=0.6)
    assert local_counts(config, 10, 3, 4) == [10, 10, 6, 6]
    assert local_counts(config, 10, 8, 2) == [6, 6]


@pytest.mark.parametrize(("share", "batch", "expected"), [(1.0, 8, 7), (0.05, 8, 1), (0.2, 2, 1)])
def test_both_objectives_have_at_least_one_molecule(share, batch, expected):
    """An empty one would make the loss NaN."""
    config = DenoiserObjectiveConfig(local_steps=0, local_share=share)
    assert local_counts(config, batch, 0, 1) == [expected]


def test_scaled_positions():
    scaled = scaled_positions(torch.ones(2, 3, 3).double().numpy(), 0.5)
    assert scaled.dtype == torch.float32 and torch.equal(scaled, torch.full((2, 3, 3), 2.0))


def drawn(positions, weights=None, rare_share=0.0, batches=40, size=2000):
    epoch, local = Epoch(0, 0, batches), [size] * batches
    made = StepBatches(positions, law(), 1, size, local, 0, epoch, weights, rare_share)
    return [made[k] for k in range(batches)]


def test_frames_are_drawn_by_their_weights():
    weights = np.array([0.5, 0.3, 0.0, 0.2])
    positions = torch.arange(4.0)[:, None, None].expand(4, 2, 3)
    rows = torch.cat([batch["clean"][:, 0, 0] for batch in drawn(positions, weights)])
    shares = torch.bincount(rows.long(), minlength=4).double() / len(rows)
    assert np.abs(shares.numpy() - weights).max() < 4 * 0.5 / len(rows) ** 0.5


def test_rare_frames_are_drawn_more_often_and_count_for_less():
    weights = np.array([0.5, 0.49, 0.0, 0.01])
    positions = torch.arange(4.0)[:, None, None].expand(4, 2, 3)
    batches = drawn(positions, weights, 0.4)
    rows = torch.cat([batch["clean"][:, 0, 0] for batch in batches]).long()
    factors = torch.cat([batch["importance"] for batch in batches]).double()
    shares = torch.bincount(rows, minlength=4).double() / len(rows)
    roots = weights**0.5 / (weights**0.5).sum()
    q = 0.6 * weights + 0.4 * roots
    assert np.abs(shares.numpy() - q).max() < 4 * 0.5 / len(rows) ** 0.5
    counted = torch.bincount(rows, factors, minlength=4) / len(rows)
    assert np.abs(counted.numpy() - weights).max() < 4 * 0.5 / len(rows) ** 0.5
    assert factors.max() <= 1 / 0.6 + 1e-6
    assert "importance" not in drawn(positions, weights)[0]


def two_wells(count, share, seed):
    """A bond of two lengths, 1 and 2, along a random direction; `share` of the longer one."""
    rng = np.random.default_rng(seed)
    length = np.where(rng.random(count) < share, 2.0, 1.0) + 0.1 * rng.standard_normal(count)
    axis = rng.standard_normal((count, 3))
    axis *= (length / np.linalg.norm(axis, axis=1))[:, None] / 2
    return torch.from_numpy(np.stack([axis, -axis], axis=1)).float(), length


def denoiser_too_small_to_be_exact(batches, sigma):
    """Least squares of the true bond on the noisy one by one number, at one noise level."""
    clean = torch.cat([batch["clean"][:, 0] for batch in batches]).double()
    noisy = clean + sigma * torch.cat([batch["normal"][:, 0] for batch in batches]).double()
    factors = [batch.get("importance", torch.ones(len(batch["clean"]))) for batch in batches]
    factor = torch.cat(factors).double()[:, None]
    return float((factor * clean * noisy).sum() / (factor * noisy * noisy).sum())


def test_weighted_frames_train_the_denoiser_of_unweighted_ones():
    """A sample with both lengths alike and weights, against one with the shares of the law."""
    right, _ = two_wells(20000, 0.1, 1)
    flat, length = two_wells(20000, 0.5, 2)
    weights = np.where(length > 1.5, 0.1, 0.9)
    weights /= weights.sum()
    expected = denoiser_too_small_to_be_exact(drawn(right), 0.7)
    found = denoiser_too_small_to_be_exact(drawn(flat, weights), 0.7)
    mixed = denoiser_too_small_to_be_exact(drawn(flat, weights, 0.5), 0.7)
    blind = denoiser_too_small_to_be_exact(drawn(flat), 0.7)
    # One number g minimises E|g (x + sn) - x|^2 at g = E x^2 / (E x^2 + s^2 E n^2); the mean over
    # the two atoms leaves half of the noise's variance.
    square = (0.9 * 1.01 + 0.1 * 4.01) / 4
    exact = square / (square + 0.7**2 * 1.5)
    assert expected == pytest.approx(exact, rel=0.02)
    assert found == pytest.approx(exact, rel=0.02)
    assert mixed == pytest.approx(exact, rel=0.02)
    assert blind > 1.3 * exact
