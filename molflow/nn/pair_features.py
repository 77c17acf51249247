"""Invariant features of pairs of atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from molflow.nn.embedding import GaussianBasis
from molflow.nn.graph import MAX_GRAPH_DISTANCE, MolecularGraph
from molflow.nn.vectors import difference_products


class PairMessages(nn.Module, ABC):
    """Invariant features of each pair: distance, noise along the bond, who the two atoms are.

    Bonds vary by a hundredth of the size of a molecule, too little for a basis that spans the
    whole range of distances. So each pair also has the deviation of its distance from the mean in
    the data, q = (d − d̄) / sqrt(v² + 2σ²), where 2σ² is the variance that noise of width σ on
    both ends adds, and f = q sqrt(2) σ / sqrt(v² + 2σ²), what the denoiser of an isolated pair
    with Gaussian distances would move it by.
    """

    #: Features that are not learned: q and f.
    GIVEN = 2

    @abstractmethod
    def forward(self, *arguments) -> Tensor:
        """Return features of every pair, (batch, atoms, atoms, width + GIVEN)."""

    def make_features(self, inputs: int, width: int, step_width: int, sigma_max: float) -> None:
        """Make the parameters of `features`.

        Parameters
        ----------
        inputs : int
            Vectors per atom, positions included.
        width, step_width : int
            Learned features per pair; features of the step.
        sigma_max : float
            The noise on the positions has the width ``sigma_max exp(-s)`` in units of the data.
        """
        self.sigma_max = sigma_max
        self.radial = GaussianBasis(0.0, 5.0, 16)
        self.geometry = nn.Linear(16 + inputs + self.GIVEN, width)
        self.step = nn.Linear(step_width, 2 * width)
        self.out = nn.Linear(width, width)

    def features(
        self, vectors: Tensor, step: Tensor, s: Tensor, identity: Tensor, mean: Tensor, sd: Tensor
    ) -> Tensor:
        """Return features of every pair.

        Parameters
        ----------
        vectors : Tensor, (batch, atoms, 3, inputs)
            Positions, scaled to unit size, are channel 0.
        step : Tensor, (batch, step_width)
        s : Tensor, (batch,)
            Start of the step, for the noise on the positions.
        identity : Tensor, (atoms, atoms, width)
            Who the two atoms are.
        mean, sd : Tensor, (atoms, atoms)
            Of their distances in the data.
        """
        products = difference_products(vectors)
        # The offset keeps derivatives finite where atoms coincide.
        distance = torch.sqrt(products[..., 0].clamp(min=0.0) + 1e-6)
        along = products / (distance.unsqueeze(-1) + 0.3)
        sigma = (self.sigma_max * torch.exp(-s)).reshape(-1, 1, 1)
        given = deviation(distance, mean, sd, sigma)
        geometry = self.geometry(torch.cat([self.radial(distance), along, given], dim=-1))
        scale, shift = self.step(step).unsqueeze(1).unsqueeze(1).chunk(2, dim=-1)
        hidden = nn.functional.silu(torch.addcmul(identity + shift, geometry, 1.0 + scale))
        return torch.cat([nn.functional.silu(self.out(hidden)), given], dim=-1)


class PairFeatures(PairMessages):
    """Features of the pairs of one molecule, whose atoms have tables of their own.

    Parameters
    ----------
    graph : MolecularGraph
    inputs, width, step_width, sigma_max
        See `make_features`.
    """

    mean: Tensor
    sd: Tensor
    graph_distance: Tensor

    def __init__(
        self, graph: MolecularGraph, inputs: int, width: int, step_width: int, sigma_max: float
    ):
        super().__init__()
        n = graph.n_atoms
        self.register_buffer("mean", torch.zeros(n, n))
        self.register_buffer("sd", torch.ones(n, n))
        self.make_features(inputs, width, step_width, sigma_max)
        self.sender = nn.Parameter(torch.randn(n, width) * 0.1)
        self.receiver = nn.Parameter(torch.randn(n, width) * 0.1)
        self.connection = nn.Embedding(MAX_GRAPH_DISTANCE + 1, width)
        self.register_buffer("graph_distance", torch.tensor(graph.distances()), persistent=False)

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Set mean and standard deviation of the distances in the data, (atoms, atoms)."""
        self.mean.copy_(mean)
        self.sd.copy_(sd)

    def forward(self, vectors: Tensor, step: Tensor, s: Tensor) -> Tensor:
        """Return features of every pair, see `features`."""
        identity = (
            self.receiver.unsqueeze(1)
            + self.sender.unsqueeze(0)
            + self.connection(self.graph_distance)
        )
        return self.features(vectors, step, s, identity, self.mean, self.sd)


def deviation(distance: Tensor, mean: Tensor, sd: Tensor, sigma: Tensor) -> Tensor:
    """Return q and f of `PairFeatures`, (..., 2).

    Parameters
    ----------
    distance : Tensor, (...)
        Between positions at unit size, that is divided by sqrt(1 + sigma^2).
    mean, sd, sigma : Tensor, broadcast to (...)
        Of the distance in the data, and the width of the noise on the positions.
    """
    spread = torch.rsqrt(sd.square() + 2.0 * sigma.square())
    unscaled = distance * torch.sqrt(1.0 + sigma.square())
    # Bounded, so that a broken molecule does not leave the range that was trained.
    q = 3.0 * torch.tanh((unscaled - mean) * spread / 3.0)
    return torch.stack([q, q * 2.0**0.5 * sigma * spread], dim=-1)
