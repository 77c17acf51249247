"""How an error of the denoiser is measured where bonds and angles are to be sharp."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.devices import kept_on
from molflow.nn.graph import MolecularGraph
from molflow.objectives.norm import mean_square
from molflow.sde.reverse_diffusion import ReverseDiffusion


class StiffNorm:
    r"""Mean square plus extra weight along stiff directions.

    A bond is a hundred times stiffer than a torsion, so its error hardly shows in a plain mean
    square, and it decides whether a molecule is whole. With unit vectors ê_ij of the predicted
    structure,

        |e|² = (Σ e_i² + w Σ_pairs [ê_ij · (e_i − e_j)]²) / (3 atoms),   w = weight/(1 + σ²/σ₀²).

    Above the width σ₀ of the noise the predicted bonds are averages over many orientations; there
    the extra term would be noise without a lesson, so it fades out.

    The weight depends on the input of the network alone (ê passes no gradient), so the minimiser
    of the expected loss, a conditional mean, stays what it is.

    Parameters
    ----------
    sde : ReverseDiffusion
        Gives the width σ of the noise.
    pairs : Tensor, (pairs, 2), int
        Atoms one or two bonds apart.
    weight : float
    below : float
        σ₀, in the units of the data.
    """

    def __init__(self, sde: ReverseDiffusion, pairs: Tensor, weight: float, below: float):
        self.sde, self.pairs, self.weight, self.below = sde, pairs, weight, below

    def __call__(self, error: Tensor, predicted: Tensor, s: Tensor) -> Tensor:
        """Return the measure of shape (batch,) of errors (batch, atoms, 3)."""
        i, j = kept_on(error.device, self.pairs).unbind(1)
        direction = (predicted[:, i] - predicted[:, j]).detach()
        direction = direction * torch.rsqrt(direction.square().sum(-1, keepdim=True) + 1e-6)
        stretch = (direction * (error[:, i] - error[:, j])).sum(-1)
        components = error.shape[-1] * error.shape[-2]
        weight = self.weight / (1.0 + (self.sde.sigma(s) / self.below).square())
        return mean_square(error, predicted, s) + weight * stretch.square().sum(-1) / components


def stiff_pairs(graph: MolecularGraph) -> Tensor:
    """Return the pairs of atoms one or two bonds apart, (pairs, 2), the smaller index first."""
    pairs = [(i, j) for i, j, _ in graph.pairs_within(2) if i < j]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
