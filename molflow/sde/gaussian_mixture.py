"""A mixture of isotropic Gaussians: samples, and its denoiser in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.sde.base import over_batch


class GaussianMixture:
    """sum_k weights_k N(means_k, widths_k^2 I).

    Parameters
    ----------
    means : Tensor (K, *shape)
    widths : Tensor (K,)
        Standard deviations of the components, positive.
    weights : Tensor (K,)
        Positive; they are normalised.
    """

    def __init__(self, means: Tensor, widths: Tensor, weights: Tensor) -> None:
        if not widths.shape == weights.shape == means.shape[:1]:
            raise MolflowError(
                f"means have shape {tuple(means.shape)}, widths {tuple(widths.shape)} and weights "
                f"{tuple(weights.shape)}: give one width and one weight for each mean."
            )
        if not bool((widths > 0).all() and (weights > 0).all()):
            raise MolflowError("widths and weights of a mixture must all be positive.")
        self.means, self.widths, self.weights = means, widths, weights / weights.sum()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, *shape) independent samples."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(
            count, *self.means.shape[1:], generator=generator,
            dtype=self.means.dtype, device=self.means.device,
        )
        return self.means[which] + over_batch(self.widths[which], noise) * noise

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return E[x_0 | x_0 + sigma eps = x] for x (B, *shape), sigma () or (B,)."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        total = self.widths**2 + sigma[:, None] ** 2
        offset = (x[:, None] - self.means).flatten(2)
        dimension = offset.shape[-1]
        log_share = (
            torch.log(self.weights)
            - 0.5 * (offset**2).sum(-1) / total
            - 0.5 * dimension * torch.log(total)
        )
        share = torch.softmax(log_share, dim=1)
        pull = (self.widths**2 / total)[..., None] * offset
        centres = self.means.flatten(1) + pull
        return (share[..., None] * centres).sum(1).reshape(x.shape)
