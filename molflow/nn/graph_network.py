"""What networks on sparse graphs share: entrance, exit, and batches of different molecules."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from molflow.nn.edges import EdgeFeatures, Edges
from molflow.nn.embedding import StepEmbedding
from molflow.nn.graph import MolecularGraph, kinds_of
from molflow.nn.graph_dihedrals import GraphDihedrals
from molflow.nn.molecules import RESIDUES, Molecules, molecule_data
from molflow.nn.network import EquivariantNetwork
from molflow.nn.precision import products_in
from molflow.nn.vectors import mix


class GraphNetwork(EquivariantNetwork):
    """A network in which atoms hear their neighbours, for molecules of any size.

    At the entrance atoms learn from the dihedral angles that they are part of, which tell the
    rotation about a bond and the hand of a centre, as in the dense network. Atoms are known by
    element, residue and kind (residue and name, as ALA-CA); in a molecule in which no residue comes
    twice the kind is the identity of the atom. Memory and time grow as the number of atoms.

    Parameters
    ----------
    graph : MolecularGraph
        The molecule of `vectors_and_scalars`, whose kinds of atoms are known.
    inputs : int
        Brownian vectors per atom.
    duration : float
        Length of the clock on which the two times live.
    scalars, vectors, edge_width : int
        Channels per atom, and learned features per edge and per dihedral.
    neighbours : int
        Neighbours looked for in molecules with more atoms.
    sigma_max : float
        Width of the noise on the positions at time 0 in units of the data.
    outputs : int
        Vectors returned for each atom.
    setting : bool
        Whether steps have a number from 0 to 1 besides, see `StepEmbedding`.
    """

    #: Features of the step.
    STEP = 64

    #: Whether layers are computed again in the backward pass: less memory, more time.
    recompute: bool

    own_pairs: Tensor
    own_mean: Tensor
    own_sd: Tensor

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        scalars: int,
        vectors: int,
        edge_width: int,
        neighbours: int,
        sigma_max: float,
        outputs: int,
        setting: bool,
    ):
        super().__init__()
        self.kinds = {name: k for k, name in enumerate(sorted(set(kinds_of(graph))), start=1)}
        count = 1 + len(self.kinds)
        self.step = StepEmbedding(duration, self.STEP, setting=setting)
        self.edges = EdgeFeatures(count, 1 + inputs, neighbours, edge_width, self.STEP, sigma_max)
        self.dihedrals = GraphDihedrals(count, edge_width, self.STEP, scalars, vectors)
        own = Molecules.from_batch(Batch.from_data_list([self.molecule(graph)]))
        for name, value in own._asdict().items():
            statistic = name in ("mean", "sd")
            value = torch.full_like(value, float(name == "sd")) if statistic else value
            self.register_buffer(f"own_{name}", value, persistent=statistic)
        self.kind = nn.Parameter(torch.randn(count, scalars))
        self.element = nn.Embedding(120, scalars)
        self.residue = nn.Embedding(len(RESIDUES) + 1, scalars)
        self.first = nn.Parameter(torch.randn(1 + inputs, vectors) / (1 + inputs) ** 0.5)
        self.first_step = nn.Linear(self.STEP, (1 + inputs) + vectors)
        self.last_step = nn.Linear(self.STEP, vectors)
        self.last_gate = nn.Linear(scalars, vectors)
        self.last = nn.Parameter(torch.zeros(vectors, outputs))

    def pass_through(self, layer: nn.Module, *state: Any) -> tuple[Tensor, ...]:
        """Return what a layer makes of a state, computed again in the backward pass if so set."""
        if self.recompute and torch.is_grad_enabled():
            # Nothing is drawn in a layer, so that states of generators need not be read.
            return checkpoint(layer, *state, use_reentrant=False, preserve_rng_state=False)
        return layer(*state)

    @abstractmethod
    def interact(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, step: Tensor, molecule: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let atoms hear each other; return scalars (N, channels) and vectors (N, 3, channels).

        Parameters
        ----------
        scalars : Tensor, (N, channels)
        vectors : Tensor, (N, 3, channels)
        edges : Edges
        step : Tensor, (M, STEP)
        molecule : Tensor, (N,)
            The molecule of each atom.
        """

    def molecule(self, graph: MolecularGraph) -> Data:
        """Describe a molecule, this one or another, for a batch; see `molecule_data`."""
        return molecule_data(graph, self.kinds, self.edges.neighbours)

    def measured_pairs(self) -> Tensor:
        """Return the pairs that are always there."""
        return self.own_pairs.T

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Set mean and standard deviation of their distances in the data."""
        self.own_mean.copy_(mean)
        self.own_sd.copy_(sd)

    def vectors_and_scalars(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom, see `EquivariantNetwork`."""
        b, n, _ = positions.shape
        own = Molecules(*(getattr(self, f"own_{name}") for name in Molecules._fields))
        vectors, scalars = self.of_molecules(
            own.copies(b), positions.flatten(0, 1), noise.flatten(0, 1), s, t, setting
        )
        return vectors.reshape(b, n, *vectors.shape[1:]), scalars.reshape(b, n, -1)

    def of_molecules(
        self,
        molecules: Molecules,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom of a batch of different molecules.

        Parameters
        ----------
        molecules : Molecules
            M molecules of N atoms in all.
        positions : Tensor, (N, 3)
            Of about unit size; the centre of each molecule does not matter.
        noise : Tensor, (N, 3, inputs)
        s, t : Tensor, (M,)
        setting : Tensor, (M,), optional
            As of `EquivariantNetwork.forward`.

        Returns
        -------
        Tensor, (N, 3), with several outputs (N, 3, outputs)
        Tensor, (N, channels)
        """
        molecule = molecules.molecule
        centres = scatter(positions, molecule, dim_size=len(s), reduce="mean")
        positions = positions - centres.index_select(0, molecule)
        inputs = torch.cat([positions.unsqueeze(-1), noise], dim=-1)
        step = self.step(s, t, setting)
        edges = self.edges(molecules, inputs, step, s)
        k = inputs.shape[-1]
        by_atom = self.first_step(step).index_select(0, molecule).unsqueeze(1)
        scale_in, scale_out = by_atom.split([k, self.first.shape[1]], dim=-1)
        vectors = mix(inputs * (1.0 + scale_in), self.first) * (1.0 + scale_out)
        scalars = (
            self.kind.index_select(0, molecules.kind)
            + self.element(molecules.element)
            + self.residue(molecules.residue)
        )
        turned, normals = self.dihedrals(molecules, positions, step)
        scalars, vectors = scalars + turned, vectors + normals
        with products_in(self.products, positions):
            scalars, vectors = self.interact(scalars, vectors, edges, step, molecule)
        gate = self.last_gate(scalars) * (1.0 + self.last_step(step).index_select(0, molecule))
        return mix(vectors * gate.unsqueeze(1), self.last).squeeze(-1), scalars
