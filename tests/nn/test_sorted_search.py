"""The search for neighbours on devices, against the tree of the processor."""

import sys
from pathlib import Path

import pytest
import torch

import molflow.nn.sorted_search as search
from molflow.nn.neighbours import nearest
from molflow.nn.sorted_search import along_curve, sorted_search

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))
from counting import DEVICE, counted  # noqa: E402

SIZES = [1, 4, 900, 295]
NONE = torch.empty(2, 0, dtype=torch.long)


def molecules(count=8):
    """Return first atoms, atoms that ask and pairs of molecules of different sizes, in chains."""
    first = torch.tensor([0, *SIZES]).cumsum(0)
    owner = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    bonds = torch.nonzero(owner[1:] == owner[:-1]).squeeze(1)
    pairs = torch.stack([bonds, bonds + 1])
    # Four atoms of five ask.
    asking = torch.arange(sum(SIZES))
    return first, asking[asking % 5 > 0], torch.cat([pairs, pairs.flip(0)], dim=1), count


def clouds():
    """Return positions by what is awkward about them."""
    generator = torch.Generator().manual_seed(0)
    n = sum(SIZES)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    odd = (torch.arange(n) % 2 > 0).unsqueeze(1)
    far = torch.rand(n, 1, generator=generator, dtype=torch.float64).clamp(min=1e-4)
    return {
        "a ball": x,
        "tails without end": x / far,
        "two knots": torch.where(odd, 1e-6 * x, 5.0 + 1e-3 * x),
        "a line": x * torch.tensor([0.0, 1.0, 0.0]),
        "a plane": x * torch.tensor([1.0, 0.0, 1.0]),
        "a crumb in a wide cell": x * torch.where(torch.arange(n) % 100 > 0, 1e-3, 1e3)[:, None],
    }


@pytest.mark.parametrize("held", [2**25, 2**14])
@pytest.mark.parametrize("name", list(clouds()))
def test_both_searches_find_the_same_atoms_in_the_same_order(name, held, monkeypatch):
    """Whether all distances are held at once or few."""
    monkeypatch.setattr(search, "_HELD", held)
    x, given = clouds()[name], molecules()
    assert torch.equal(sorted_search(x, *given), nearest(x, *given))


@pytest.mark.parametrize("count", [1, 8, 40, 1000])
def test_any_number_of_neighbours(count):
    """More than there are, too: the atom itself fills the row."""
    x, given = clouds()["a ball"], molecules(count)
    found = sorted_search(x, *given)
    assert torch.equal(found, nearest(x, *given))
    assert bool((found[:, -1] == given[1]).all()) == (count > max(SIZES))


def test_atoms_in_one_place_have_neighbours_there():
    """Which, is up to the search: all of another place would be wrong."""
    x = torch.zeros(64, 3, dtype=torch.float64)
    x[:20] = 1.0
    found = sorted_search(x, torch.tensor([0, 64]), torch.arange(64), NONE, 19)
    assert torch.equal(x[found], x[:, None].expand(-1, 19, -1))
    assert all(len({*row, k}) == 20 for k, row in enumerate(found.tolist()))


def test_nothing_one_atom_and_nobody_who_asks():
    one, nobody = torch.tensor([0, 1]), torch.empty(0, dtype=torch.long)
    assert sorted_search(torch.zeros(1, 3), one, torch.arange(1), NONE, 3).tolist() == [[0, 0, 0]]
    assert sorted_search(torch.zeros(1, 3), one, nobody, NONE, 3).shape == (0, 3)
    assert sorted_search(torch.zeros(0, 3), one[:1], nobody, NONE, 3).shape == (0, 3)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_an_atom_without_a_position_is_nobodys_neighbour(wrong):
    x, given = clouds()["a ball"], molecules()
    x[300] = wrong
    found = sorted_search(x, *given)
    rest = torch.ones(len(x), dtype=torch.bool)
    rest[300] = False
    asking = given[1][rest[given[1]]]
    assert not (found[rest[given[1]]] == 300).any()
    # As where it is known to all, so that nobody looks for it.
    x[300] = 0.0
    others = torch.arange(len(x))
    known = torch.cat([given[2], torch.stack([torch.full_like(others, 300), others])], dim=1)
    assert torch.equal(found[rest[given[1]]], nearest(x, given[0], asking, known, 8))


def test_the_curve_goes_through_the_eight_parts_of_a_cell_one_by_one():
    corners = torch.tensor([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    inside = torch.rand(8, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.cat([(corners.unsqueeze(1) + 0.9 * inside).flatten(0, 1), corners[[0, 7]] * 1.9])
    order = along_curve(x, torch.zeros(42, dtype=torch.long), 1)
    parts = [min(k // 5, 8) for k in order.tolist()]
    kept = [part for part in parts if part < 8]
    assert kept == sorted(kept)


def test_a_device_is_waited_for_once():
    given = [value.to(DEVICE) for value in molecules()[:3]]
    x = torch.empty(sum(SIZES), 3, device=DEVICE)
    with counted() as trips:
        sorted_search(x, *given, 8)
    assert (trips.read.total(), trips.blocking.total()) == (1, 0), trips.read | trips.blocking
