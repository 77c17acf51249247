"""Local objective: what the map does in a step of no length."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.objectives.norm import Norm, mean_square, scaled


def denoising_residual(
    flow_map: DenoiserFlowMap,
    s: Tensor,
    clean: Tensor,
    noisy: Tensor,
    norm: Norm = mean_square,
) -> Tensor:
    """Return the denoiser's error, in units of its preconditioner, per molecule.

    Drift matching for a reverse diffusion: at s = t the mean denoiser D̄ is the denoiser itself,
    and E[x₀ | x] is the minimiser of E|D̄ − x₀|² (denoising score matching, Vincent 2011).

    Parameters
    ----------
    s : Tensor, (batch,)
        Times.
    clean, noisy : Tensor, (batch, atoms, 3)
        x₀ and x₀ + σ(s) n, both centred.
    norm : Norm
        How an error is measured.

    Returns
    -------
    Tensor, (batch,)
        The norm of the error divided by c_out² = σ²/(1 + σ²).
    """
    noise = noisy.new_zeros(*noisy.shape, flow_map.basis.size)
    denoised = flow_map.mean_denoiser(s, s, noisy, noise)
    return scaled(flow_map, s, norm(denoised - clean, denoised, flow_map.sde.sigma(s)))


def noised(clean: Tensor, sigma: Tensor, normal: Tensor) -> Tensor:
    """Return x₀ + σ n for sigma of shape (batch,) and centred standard normal n."""
    return clean + sigma.reshape(-1, 1, 1) * normal


def weighted(residual: Tensor, log_variance: Tensor) -> Tensor:
    """Return exp(−u) r + u averaged over the batch: a Gaussian likelihood with learned variance.

    Kendall, Gal and Cipolla 2018 (arXiv 1705.07115). At the optimum u = log E[r], which brings
    every time to weight one.
    """
    return torch.mean(torch.exp(-log_variance) * residual + log_variance)
