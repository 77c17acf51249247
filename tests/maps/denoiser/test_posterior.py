"""Targets averaged over what a noisy conformation may come from, in all orientations."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import special_ortho_group

from molflow import seeds
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.batches import StepBatches, TimeLaw
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserObjectiveConfig
from molflow.maps.denoiser.posterior import (
    grouped_mean,
    log_normaliser,
    mean_rotation,
    posterior_mean,
    signed_singular_values,
)
from molflow.objectives.matching import noised
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.training.fit import Epoch

SDE = ReverseDiffusion(10.0, 0.002)


def matrices(seed=0, count=200):
    made = torch.randn(count, 3, 3, generator=seeds.generator(seed, "m"), dtype=torch.float64)
    return made * torch.logspace(-1, 2, count, dtype=torch.float64)[:, None, None]


def conformations(count, seed=0):
    made = centre(torch.randn(count, 4, 3, generator=seeds.generator(seed, "c")))
    return made.double()


def rotations(number=32):
    """Rotations on a grid of Euler angles, (n, 3, 3), and their weights: exact to a high order."""
    nodes, weights = np.polynomial.legendre.leggauss(number)
    turns = 2.0 * np.pi * np.arange(number) / number
    angles = np.stack(np.meshgrid(turns, np.arccos(nodes), turns, indexing="ij"), -1).reshape(-1, 3)
    weight = np.broadcast_to(weights[None, :, None], (number,) * 3).reshape(-1)
    found = Rotation.from_euler("ZYZ", angles).as_matrix()
    return torch.from_numpy(found), torch.from_numpy(weight / weight.sum())


def test_singular_values_have_the_sign_of_the_determinant():
    given = matrices()
    expected = torch.linalg.svdvals(given)
    expected[:, 2] *= torch.sign(torch.linalg.det(given))
    assert (torch.linalg.det(given) < 0).any()
    assert torch.allclose(signed_singular_values(given), expected, rtol=1e-9, atol=1e-9)


def test_normaliser_and_mean_rotation_are_integrals_over_all_rotations():
    given = matrices()[::20]
    given = given * (12.0 / torch.linalg.matrix_norm(given)).clamp(max=1.0)[:, None, None]
    turns, weight = rotations()
    singular = signed_singular_values(given)
    log_z, slopes = log_normaliser(singular)
    density = weight * torch.exp(torch.einsum("nij,mij->mn", turns, given))
    total = density.sum(1)
    assert torch.allclose(log_z, total.log(), atol=1e-4)
    mean = torch.einsum("mn,nij->mij", density, turns) / total[:, None, None]
    found = mean_rotation(given, singular, slopes)
    assert (found - mean).abs().max() < 1e-4
    assert (mean - given / torch.linalg.matrix_norm(given)[:, None, None]).abs().max() > 0.1


def test_for_strong_matrices_it_is_the_rotation_that_fits_best():
    given = 1e5 * matrices(count=20)
    singular = signed_singular_values(given)
    u, _, v = torch.linalg.svd(given)
    flip = torch.ones_like(singular)
    flip[:, 2] = torch.linalg.det(u @ v)
    best = (u * flip[:, None]) @ v
    _, slopes = log_normaliser(singular)
    assert torch.allclose(mean_rotation(given, singular, slopes), best, atol=1e-3)


def test_posterior_mean_is_that_of_all_conformations_in_all_orientations():
    clean, factors = conformations(3), torch.tensor([1.0, 0.5, 2.0])
    sigma = torch.tensor([3.0, 1.5, 0.9, 0.9])
    noisy = noised(clean[[0, 1, 2, 0]], sigma.double(), conformations(4, seed=1))
    turns, weight = rotations()
    turned = torch.einsum("nij,maj->mnai", turns, clean)
    apart = (noisy[:, None, None] - turned).square().sum((-2, -1))
    share = weight * torch.exp(-0.5 * apart / sigma.double().square()[:, None, None])
    factor = (share * factors[:, None]).sum((1, 2)) / share.sum((1, 2))
    share = share * factors[:, None]
    expected = torch.einsum("bmn,mnai->bai", share, turned) / share.sum((1, 2))[:, None, None]
    target, found = posterior_mean(noisy, sigma, clean, factors)
    assert torch.allclose(target.double(), expected, atol=1e-4)
    assert torch.allclose(found.double(), factor, atol=1e-4)
    plain, _ = posterior_mean(noisy, sigma, clean, torch.ones(3))
    assert (plain - target).abs().max() > 0.01


def test_two_atoms_keep_their_line():
    """Langevin's function of the length: the mean of a vector that is drawn to another."""
    half = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    noisy, sigma = 1.5 * half[None], torch.tensor([1.2])
    target, _ = posterior_mean(noisy, sigma, half[None], torch.ones(1))
    strength = 2.0 * 1.5 / 1.2**2
    expected = 1.0 / np.tanh(strength) - 1.0 / strength
    assert torch.allclose(target[0], expected * half, atol=1e-5)


def test_it_turns_with_the_noisy_ones_and_not_with_the_clean_ones():
    clean, sigma = conformations(6), torch.full((6,), 0.7)
    noisy = noised(clean, sigma.double(), conformations(6, seed=1))
    ones = torch.ones(6)
    turns = torch.from_numpy(special_ortho_group.rvs(3, size=6, random_state=0))
    one, _ = posterior_mean(noisy, sigma, clean, ones)
    other, _ = posterior_mean(noisy @ turns, sigma, clean @ turns.flip(0), ones)
    assert torch.allclose(other, one @ turns, atol=1e-9)
    mirrored, _ = posterior_mean(-noisy, sigma, clean, ones)
    assert (mirrored + one).abs().max() > 0.01


def test_a_group_that_is_one_gives_its_own_rotated_back():
    clean, sigma = conformations(6), torch.full((6,), 1e-3)
    noisy = noised(clean, sigma.double(), conformations(6, seed=1))
    target, factor = grouped_mean(noisy, sigma, clean, 1.0 + torch.arange(6.0), 1)
    assert torch.allclose(target, clean, atol=0.01)
    assert torch.equal(factor, 1.0 + torch.arange(6.0))


def made(averaged_over, weights=None, rare_share=0.0, size=2500):
    frames = conformations(40, seed=2).float()
    config = DenoiserObjectiveConfig(averaged_over=averaged_over, focus_share=1.0)
    law = TimeLaw(StepClock(SDE.duration, float(SDE.time(0.8)), 4.0), config)
    return StepBatches(
        frames, law, 1, size, [size], 0, Epoch(0, 0, 1), weights, rare_share, None,
        SDE if averaged_over else None,
    )[0]  # fmt: skip


@pytest.mark.parametrize("rare_share", [0.0, 0.5])
def test_the_minimiser_stays_and_the_scatter_goes(rare_share):
    """A linear denoiser that turns with its input, fitted by least squares, by both targets."""
    weights = np.where(np.arange(40) < 20, 0.045, 0.005) if rare_share else None
    own, averaged = (made(k, weights, rare_share) for k in (0, 20))
    assert torch.equal(own["clean"], averaged["clean"]) and "target" not in own
    sigma = SDE.sigma(own["local_time"])
    x = noised(own["clean"], sigma, own["normal"]).double()
    # Vectors that turn with x: relative to the mean, and cross products, which know the hand.
    basis = torch.stack([x, *(torch.roll(x, k, 1) for k in (1, 2, 3)),
                         torch.linalg.cross(x, torch.roll(x, 1, 1), dim=-1)], dim=-1)  # fmt: skip
    fits, rest = [], []
    for batch, name in ((own, "clean"), (averaged, "target")):
        factor = batch.get("importance", torch.ones(len(x))).double().sqrt()[:, None, None]
        left = (basis * factor[..., None]).reshape(-1, basis.shape[-1])
        right = (batch[name].double() * factor).reshape(-1)
        fits.append(torch.linalg.lstsq(left, right).solution)
        residual = right - left @ fits[-1]
        rest.append(float(residual.square().mean()))
        scatter = torch.linalg.inv(left.T @ left).diagonal().mul(rest[-1]).sqrt()
    assert (fits[0] - fits[1]).abs().max() < 4.0 * scatter.max() * (rest[0] / rest[1]) ** 0.5
    assert (fits[0]).abs().max() > 0.1
    assert rest[1] < 0.7 * rest[0]
