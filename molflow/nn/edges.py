"""Who hears whom in a graph network, and what a pair of atoms tells of itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from molflow.nn.embedding import GaussianBasis
from molflow.nn.graph import MAX_GRAPH_DISTANCE
from molflow.nn.molecules import Molecules
from molflow.nn.neighbours import envelope, nearest
from molflow.nn.pair_features import deviation


class Edges(NamedTuple):
    """Pairs of atoms that hear each other, E of them.

    Attributes
    ----------
    sender, receiver : Tensor, (E,), int
    weight : Tensor, (E,)
        Between 0 and 1.
    features : Tensor, (E, width)
        Invariant.
    direction : Tensor, (E, 3)
        From the receiver to the sender, of about unit length.
    """

    sender: Tensor
    receiver: Tensor
    weight: Tensor
    features: Tensor
    direction: Tensor


class EdgeFeatures(nn.Module):
    """Find the edges and their features: those of `PairFeatures`, with kinds of atoms.

    Parameters
    ----------
    kinds : int
        Number of kinds of atoms, the unknown one included.
    inputs : int
        Vectors per atom, positions included.
    neighbours : int
        Neighbours looked for in molecules with more atoms.
    width, step_width : int
        Learned features per edge; features of the step.
    sigma_max : float
        The noise on the positions has the width ``sigma_max exp(-s)`` in units of the data.
    """

    #: Features that are not learned, see `PairFeatures`.
    GIVEN = 2

    def __init__(
        self,
        kinds: int,
        inputs: int,
        neighbours: int,
        width: int,
        step_width: int,
        sigma_max: float,
    ):
        super().__init__()
        self.neighbours, self.sigma_max = neighbours, sigma_max
        # On the logarithm: in units of its size, a large molecule has short bonds.
        self.radial = GaussianBasis(-4.0, 2.0, 24)
        self.geometry = nn.Linear(24 + inputs + self.GIVEN, width)
        self.step = nn.Linear(step_width, 2 * width)
        self.out = nn.Linear(width, width)
        self.sender = nn.Parameter(torch.randn(kinds, width) * 0.1)
        self.receiver = nn.Parameter(torch.randn(kinds, width) * 0.1)
        self.connection = nn.Embedding(MAX_GRAPH_DISTANCE + 1, width)

    def forward(self, molecules: Molecules, vectors: Tensor, step: Tensor, s: Tensor) -> Edges:
        """Return the edges.

        Parameters
        ----------
        molecules : Molecules
        vectors : Tensor, (N, 3, inputs)
            Positions, scaled to unit size, are channel 0.
        step : Tensor, (M, step_width)
        s : Tensor, (M,)
            Start of the step, for the noise on the positions.
        """
        sender, receiver, weight, bonds, mean, sd = self._edges(molecules, vectors[..., 0])
        difference = vectors.index_select(0, sender) - vectors.index_select(0, receiver)
        square = difference[..., 0].square().sum(-1)
        # The offsets keep derivatives finite where atoms coincide.
        direction = difference[..., 0] * torch.rsqrt(square + 1e-3).unsqueeze(-1)
        distance = torch.sqrt(square + 1e-6)
        along = (direction.unsqueeze(-1) * difference).sum(-2)
        molecule = molecules.molecule.index_select(0, receiver)
        sigma = (self.sigma_max * torch.exp(-s)).index_select(0, molecule)
        given = deviation(distance, mean, sd, sigma)
        radial = self.radial(0.5 * torch.log(square + 3e-4))
        geometry = self.geometry(torch.cat([radial, along, given], dim=-1))
        scale, shift = self.step(step).index_select(0, molecule).chunk(2, dim=-1)
        identity = (
            self.receiver.index_select(0, molecules.kind.index_select(0, receiver))
            + self.sender.index_select(0, molecules.kind.index_select(0, sender))
            + self.connection(bonds)
        )
        hidden = nn.functional.silu(torch.addcmul(identity + shift, geometry, 1.0 + scale))
        features = torch.cat([nn.functional.silu(self.out(hidden)), given], dim=-1)
        return Edges(sender, receiver, weight, features, direction)

    def _edges(self, molecules: Molecules, positions: Tensor):
        sender, receiver = molecules.pairs.unbind(0)
        mean, sd = molecules.mean.to(positions.dtype), molecules.sd.to(positions.dtype)
        weight = torch.ones_like(mean)
        searching = molecules.searching
        if not len(searching):
            return sender, receiver, weight, molecules.bonds, mean, sd
        found = nearest(positions, molecules.first, searching, molecules.pairs, self.neighbours)
        count = found.numel()
        return (
            torch.cat([sender, found.flatten()]),
            torch.cat([receiver, searching.repeat_interleave(self.neighbours)]),
            torch.cat([weight, envelope(positions, searching, found).flatten()]),
            torch.cat([molecules.bonds, molecules.bonds.new_full((count,), MAX_GRAPH_DISTANCE)]),
            torch.cat([mean, mean.new_zeros(count)]),
            torch.cat([sd, sd.new_full((count,), torch.inf)]),
        )
