"""A mixture of Gaussians: samples, and its denoiser in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.errors import MolflowError


class GaussianMixture:
    """sum_k weights_k N(means_k, C_k) with C_k of given axes and widths.

    Parameters
    ----------
    means : Tensor (K, *shape)
    widths : Tensor (K,) or (K, D)
        Standard deviations of the components, positive: one for all directions, or one for each
        of the D axes, D the number of coordinates in `shape`.
    weights : Tensor (K,)
        Positive; they are normalised.
    axes : Tensor (K, D, D), optional
        Orthonormal rows, the directions that the widths belong to; by default the coordinates.
    """

    def __init__(
        self, means: Tensor, widths: Tensor, weights: Tensor, axes: Tensor | None = None
    ) -> None:
        count, size = len(means), means[0].numel()
        if weights.shape != (count,) or widths.shape not in ((count,), (count, size)):
            raise MolflowError(
                f"means have shape {tuple(means.shape)}, widths {tuple(widths.shape)} and weights "
                f"{tuple(weights.shape)}: give one width and one weight for each mean."
            )
        if not bool((widths > 0).all() and (weights > 0).all()):
            raise MolflowError("widths and weights of a mixture must all be positive.")
        if axes is None:
            axes = torch.eye(size, dtype=means.dtype, device=means.device).expand(count, -1, -1)
        unit = torch.eye(size, dtype=axes.dtype, device=axes.device)
        if axes.shape != (count, size, size) or (axes @ axes.mT - unit).abs().max() > 1e-4:
            raise MolflowError(
                f"axes have shape {tuple(axes.shape)}: give orthonormal rows, "
                f"({count}, {size}, {size})."
            )
        self.means, self.weights, self.axes = means, weights / weights.sum(), axes
        self.widths = widths[:, None].expand(-1, size) if widths.ndim == 1 else widths

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, *shape) independent samples."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(
            count, self.widths.shape[1], generator=generator,
            dtype=self.means.dtype, device=self.means.device,
        )  # fmt: skip
        offset = torch.einsum("bi,bij->bj", self.widths[which] * noise, self.axes[which])
        return self.means[which] + offset.reshape(count, *self.means.shape[1:])

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return E[x_0 | x_0 + sigma eps = x] for x (B, *shape), sigma () or (B,)."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        total = self.widths**2 + sigma[:, None, None] ** 2
        offset = (x[:, None] - self.means).flatten(2)
        along = torch.einsum("bkj,kij->bki", offset, self.axes)
        log_share = torch.log(self.weights) - 0.5 * (along**2 / total + torch.log(total)).sum(-1)
        share = torch.softmax(log_share, dim=1)
        pulled = torch.einsum("bki,kij->bkj", self.widths**2 / total * along, self.axes)
        centres = self.means.flatten(1) + pulled
        return (share[..., None] * centres).sum(1).reshape(x.shape)
