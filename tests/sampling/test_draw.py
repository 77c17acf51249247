"""Starts and paths by block."""

import math

import pytest
import torch
from toy_maps import SDE, gaussian_map, random_map

from molflow.maps.denoiser.draw import BLOCK, BlockPaths, draw, draw_blocks, start_positions

ATOMS = 5


def test_start_has_the_width_of_noise_and_data():
    flow_map = random_map()
    x = start_positions(flow_map, 4000, ATOMS, 0)
    assert x.mean(1).abs().max() < 1e-4
    expected = math.sqrt((1 + SDE.sigma_max**2) * (ATOMS - 1) / ATOMS)
    assert float(x.std()) == pytest.approx(expected, rel=0.02)


def test_blocks_have_paths_of_their_own_and_keep_them():
    flow_map = random_map()
    paths = BlockPaths(flow_map.basis, flow_map.sde.duration, [1, 2, 3], ATOMS, "cpu")
    all_of_them = paths.increment(0.0, 2.0)
    assert all_of_them.features.shape == (3 * BLOCK, ATOMS, 3, flow_map.basis.size)
    for k, seed in enumerate((1, 2, 3)):
        alone = BlockPaths(flow_map.basis, flow_map.sde.duration, [seed], ATOMS, "cpu")
        own = alone.increment(0.0, 2.0)
        part = slice(k * BLOCK, (k + 1) * BLOCK)
        assert torch.equal(all_of_them.whitened()[part], own.whitened())
        assert torch.allclose(all_of_them.features[part], own.features, rtol=1e-6)
    z = all_of_them.whitened()
    assert not torch.equal(z[:BLOCK], z[BLOCK : 2 * BLOCK])
    assert paths.snap(1.0) == pytest.approx(1.0, abs=1e-5)


def test_a_block_is_the_same_in_any_company():
    flow_map = random_map()
    with torch.no_grad():
        together = draw_blocks(flow_map, range(0, 3), 2, 7, ATOMS)
        alone = draw_blocks(flow_map, range(1, 2), 2, 7, ATOMS)
    assert (together[BLOCK : 2 * BLOCK] - alone).abs().max() < 1e-4 * alone.abs().max()
    assert not torch.allclose(together[:BLOCK], alone, atol=1e-2)


@pytest.mark.parametrize("n", [1, 64, 65, 300])
def test_draw_gives_exactly_the_first_n_of_all_blocks(n):
    flow_map = random_map()
    blocks = -(-n // BLOCK)
    with torch.no_grad():
        one_by_one = [draw_blocks(flow_map, range(k, k + 1), 1, 0, ATOMS) for k in range(blocks)]
    expected, found = torch.cat(one_by_one)[:n], draw(flow_map, n, 1, 0, ATOMS)
    assert found.shape == (n, ATOMS, 3)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    # No two are alike.
    assert n == 1 or torch.pdist(found.flatten(1)).min() > 0.1


def test_the_first_samples_of_more_are_the_same_and_the_seed_matters():
    flow_map = random_map()
    few, many = draw(flow_map, 70, 2, 3, ATOMS), draw(flow_map, 130, 2, 3, ATOMS)
    assert torch.allclose(few, many[:70], atol=1e-4)
    assert not torch.allclose(few, draw(flow_map, 70, 2, 4, ATOMS), atol=0.1)


def test_samples_of_a_gaussian_have_its_width():
    width = 0.5
    x = draw(gaussian_map(width, 2), 1500, 8, 0, ATOMS)
    expected = width * math.sqrt((ATOMS - 1) / ATOMS)
    deviation = 1 / math.sqrt(2 * 1500 * 3 * (ATOMS - 1))
    assert float(x.std()) == pytest.approx(expected, rel=5 * deviation + 0.005)
