"""Seeds that depend on what they are of, and generators that use all of their bits."""

import numpy as np
import pytest
import torch

from molflow.seeds import derive_seed, generator


@pytest.mark.parametrize("names", [("batch", 3, 17), ("start",), ()])
def test_the_stream_is_that_of_the_twister_with_the_state_that_numpy_makes(names):
    twister = np.random.MT19937(np.random.SeedSequence(derive_seed(5, *names)))
    state = twister.state
    state["state"]["pos"] = 624
    twister.state = state
    drawn = torch.randint(2**24, (2000,), generator=generator(5, *names))
    assert np.array_equal(drawn.numpy(), twister.random_raw(2000) % 2**24)


def test_the_stream_follows_from_seed_and_names_alone():
    def draw(*given):
        return torch.randn(5, generator=generator(*given))

    torch.manual_seed(1)
    one = draw(0, "batch", 1)
    torch.manual_seed(2)
    assert torch.equal(one, draw(0, "batch", 1))
    others = [draw(0, "batch", 2), draw(1, "batch", 1), draw(0, "batch")]
    assert not any(torch.equal(one, other) for other in others)


def test_seeds_that_agree_in_32_bits_have_different_streams(monkeypatch):
    monkeypatch.setattr("molflow.seeds.derive_seed", lambda seed, *names: seed)
    low, high = (torch.randn(8, generator=generator(seed)) for seed in (7, 7 + 2**40))
    assert not torch.equal(low, high)
    # What torch itself makes of such seeds.
    same = [torch.randn(8, generator=torch.Generator().manual_seed(s)) for s in (7, 7 + 2**40)]
    assert torch.equal(*same)


def test_numbers_are_normal():
    drawn = torch.randn(40_000, generator=generator(3), dtype=torch.float64)
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1.0) < 0.015
