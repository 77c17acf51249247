"""Noise with a learned covariance: frames that move with a molecule, and what is drawn in them."""

import pytest
import torch
from scipy.spatial.transform import Rotation
from toy_maps import GRAPH

from molflow.errors import MolflowError
from molflow.maps.langevin.residual_noise import (
    ResidualNoise,
    check_size,
    frame_neighbours,
    in_frames,
    local_frames,
)
from molflow.nn.graph import MolecularGraph

MASSES = torch.tensor([12.0, 1.0, 14.0, 16.0, 12.0], dtype=torch.float64)
NEIGHBOURS = frame_neighbours(GRAPH)


def positions(count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, 3, generator=generator, dtype=torch.float64)


def noise():
    generator = torch.Generator().manual_seed(1)
    roots = torch.randn(2, 2, 30, 30, generator=generator, dtype=torch.float64)
    by_map, by_noise = roots @ roots.mT
    return ResidualNoise(0.005, by_map, 0.1 * by_noise, NEIGHBOURS, MASSES, 300.0)


def test_frames_turn_with_the_molecule_and_point_along_bonds():
    x = positions(4)
    turn = torch.from_numpy(Rotation.random(random_state=0).as_matrix())
    frames, turned = local_frames(x, NEIGHBOURS), local_frames(x @ turn.mT + 3.0, NEIGHBOURS)
    assert torch.allclose(turned, turn @ frames, atol=1e-12)
    assert torch.allclose(frames.mT @ frames, torch.eye(3).double().expand(4, 5, 3, 3), atol=1e-12)
    assert torch.allclose(torch.linalg.det(frames), torch.ones(4, 5).double())
    assert {int(k) for k in NEIGHBOURS[0]} & set(GRAPH.neighbours()[0])
    bond = x[:, NEIGHBOURS[0, 0]] - x[:, 0]
    along = torch.einsum("bx,bxl->bl", bond, frames[:, 0])
    assert torch.allclose(along[:, 0], bond.norm(dim=-1)) and along[:, 1:].abs().max() < 1e-12
    state = torch.stack([x, -2.0 * x], dim=1)
    local = in_frames(state, frames).reshape(4, 2, 5, 3)
    assert torch.allclose(torch.einsum("baxl,bkal->bkax", frames, local), state)


def test_what_is_drawn_has_the_covariance_and_no_momentum():
    known, x = noise(), positions().expand(20000, 5, 3)
    factor = known.factor(0.01, 300.0, 2.0)
    covariance = known.covariance(0.01, 300.0, 2.0)
    assert torch.allclose(factor @ factor.mT, covariance, atol=1e-10 * float(covariance.max()))
    assert torch.allclose(covariance, known.by_map[1] + 2.0 * known.by_noise[1])
    normal = torch.randn(
        20000, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    drawn = known.draw(x, factor, normal)
    momentum = torch.einsum("a,bkax->bkx", MASSES, drawn)
    assert momentum.abs().max() < 1e-10 * drawn.abs().max()
    # The expected covariance: that of the local numbers, turned, without what moves the centre.
    frames = local_frames(x[:1], NEIGHBOURS)[0]
    turn = torch.block_diag(*[frames[a] for _ in range(2) for a in range(5)])
    share = torch.kron(torch.ones(5, 1).double(), MASSES[None] / MASSES.sum())
    free = torch.block_diag(*[torch.kron(torch.eye(5).double() - share, torch.eye(3))] * 2)
    whole = free @ turn
    expected = whole @ covariance @ whole.mT
    flat = drawn.flatten(1)
    size = expected.diagonal().sqrt()
    found = flat.T @ flat / len(flat) / size / size[:, None]
    # The largest of 465 errors of standard deviation up to sqrt(2/20000).
    assert (found - expected / size / size[:, None]).abs().max() < 4.5 * (2 / 20000) ** 0.5


def test_between_lags_and_states():
    known = noise()
    first, second = (known.by_map[k] + 4.0 * known.by_noise[k] for k in (0, 1))
    for lag, expected in (
        (0.0, 0.0 * first), (0.0025, 0.25 * first), (0.005, first),
        (0.0075, 0.5 * (first + second)), (0.01, second),
    ):  # fmt: skip
        assert torch.allclose(known.covariance(lag, 300.0, 4.0), expected, atol=1e-9)
    assert torch.allclose(known.covariance(0.005, 450.0, 4.0), 1.5 * first)
    with pytest.raises(MolflowError, match=r"12 fs, and the residual noise is known up to 10 fs"):
        known.covariance(0.012, 300.0, 4.0)


def test_negative_variances_are_none():
    matrix = torch.diag(torch.tensor([2.0] * 29 + [-1.0], dtype=torch.float64))[None]
    known = ResidualNoise(0.005, matrix, 0 * matrix, NEIGHBOURS, MASSES, 300.0)
    factor = known.factor(0.005, 300.0, 1.0)
    assert torch.allclose(factor @ factor.mT, matrix[0].clamp(min=0.0), atol=1e-12)


def test_covariances_that_cost_too_much_are_refused_with_the_cost():
    check_size(300, 8)
    with pytest.raises(MolflowError, match="of 1000 atoms at 8 lags would take 4.3 GiB"):
        check_size(1000, 8)


def test_the_frame_of_an_atom_is_of_the_two_nearest_along_bonds():
    pieces = MolecularGraph((6, 1, 8, 1, 11), ("X",) * 5, ("A",) * 5, ((0, 1), (2, 3)))
    for graph in (GRAPH, pieces):
        wanted = [
            [k for _, k in sorted((apart, k) for k, apart in enumerate(row) if k != atom)[:2]]
            for atom, row in enumerate(graph.distances())
        ]
        assert frame_neighbours(graph).tolist() == wanted
