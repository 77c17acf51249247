"""What a network must not be: one that cannot tell a molecule from its mirror image.

A check of handedness that passes it does not see the hand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.nn.embedding import StepEmbedding
from molflow.nn.graph import MolecularGraph
from molflow.nn.network import EquivariantNetwork
from molflow.nn.pair_features import PairFeatures


class DistanceOnly(EquivariantNetwork):
    """Messages by distances and sums of differences: equivariant, and blind to handedness.

    In the manner of EGNN (Satorras et al. 2021, arXiv 2102.09844), with the pair features of the
    dense network. Everything is a polynomial in scalar products, so f(-x, -z) = -f(x, z).

    Parameters
    ----------
    graph : MolecularGraph
    inputs : int
        Brownian vectors of each atom.
    duration : float
        Length of the clock.
    width, layers : int
    sigma_max : float
        The largest noise.
    """

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        width: int = 64,
        layers: int = 3,
        sigma_max: float = 10.0,
    ):
        super().__init__()
        n, self.k = graph.n_atoms, 1 + inputs
        self.step = StepEmbedding(duration, 64)
        self.pairs = PairFeatures(graph, self.k, width, 64, sigma_max)
        self.identity = nn.Parameter(torch.randn(n, width))
        pair_width = width + PairFeatures.GIVEN
        self.sent, self.heard = (
            nn.ModuleList(nn.Linear(width, width) for _ in range(layers)) for _ in range(2)
        )
        self.pair = nn.ModuleList(nn.Linear(pair_width, width) for _ in range(layers))
        self.update = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width + 64, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.gates = nn.ModuleList(nn.Linear(width, self.k) for _ in range(layers))
        self.own = nn.Linear(width, self.k)
        self.last = nn.Parameter(torch.zeros(self.k, 1))

    def measured_pairs(self) -> Tensor:
        """Return all pairs."""
        n = len(self.identity)
        return torch.cartesian_prod(torch.arange(n), torch.arange(n))

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Set mean and standard deviation of all distances in the data."""
        n = len(self.identity)
        self.pairs.set_statistics(mean.reshape(n, n), sd.reshape(n, n))

    def vectors_and_scalars(self, positions: Tensor, noise: Tensor, s: Tensor, t: Tensor):
        """Return a vector and features for each atom, see `EquivariantNetwork`."""
        b, n, _ = positions.shape
        inputs = torch.cat([positions.unsqueeze(-1), noise], dim=-1)
        step = self.step(s, t)
        pair = self.pairs(inputs, step, s)
        step = step.unsqueeze(1).expand(b, n, -1)
        scalars, moved = self.identity.expand(b, n, -1), torch.zeros_like(inputs)
        for sent, heard, of_pair, update, gates in zip(
            self.sent, self.heard, self.pair, self.update, self.gates, strict=True
        ):
            message = heard(scalars).unsqueeze(2) + sent(scalars).unsqueeze(1) + of_pair(pair)
            message = nn.functional.silu(message)
            gate = gates(message)
            # Sum of gate_ij (u_j - u_i) for each Brownian vector and the positions.
            moved = moved + torch.einsum("bijk,bjck->bick", gate, inputs) / n
            moved = moved - gate.sum(2).unsqueeze(2) * inputs / n
            heard_now = message.mean(2)
            scalars = scalars + update(torch.cat([scalars, heard_now, step], dim=-1))
        moved = moved + self.own(scalars).unsqueeze(2) * inputs
        return (moved @ self.last).squeeze(-1), scalars
