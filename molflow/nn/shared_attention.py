"""The dense network for many molecules, also such as it has not seen.

Layers are those of `DenseAttention`. Where that has tables of its atoms, this one computes who an
atom is from element, residue, formal charge and bonds; molecules have no parameters of their own.
Each call is of one molecule: batches of different molecules are done one molecule after the other,
without padding, so that a molecule cannot hear of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from molflow.nn.chemistry import Chemistry
from molflow.nn.conditions import UNNAMED, Conditions, conditions_of
from molflow.nn.dense_attention import AttentionConfig, AttentionNetwork
from molflow.nn.dihedral_messages import DihedralMessages, dihedral_geometry
from molflow.nn.embedding import StepEmbedding
from molflow.nn.graph import MAX_GRAPH_DISTANCE, MolecularGraph
from molflow.nn.pair_features import PairMessages


class AtomEncoder(nn.Module):
    """Who the atoms of a molecule are, (atoms, width), from the molecule alone.

    Rounds of messages along bonds, so that an atom knows what is up to as many bonds away. Atoms
    that a symmetry of the graph exchanges are alike.
    """

    def __init__(self, width: int, rounds: int):
        super().__init__()
        self.element = nn.Embedding(120, width)
        self.residue = nn.Embedding(UNNAMED + 1, width)
        self.charge = nn.Parameter(torch.randn(width))
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(rounds)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, molecule: Conditions) -> Tensor:
        """Return features of unit size."""
        atoms = self.element(molecule.element) + self.residue(molecule.residue)
        atoms = atoms + molecule.charge.unsqueeze(1) * self.charge
        bonded = (molecule.orders > 0).to(atoms.dtype)
        for update in self.rounds:
            heard = [atoms, bonded @ atoms, molecule.orders @ atoms]
            atoms = atoms + update(torch.cat(heard, dim=-1))
        return self.norm(atoms)


class SharedPairs(PairMessages):
    """Features of the pairs of any molecule."""

    def __init__(self, atoms: int, inputs: int, width: int, step_width: int, sigma_max: float):
        super().__init__()
        self.make_features(inputs, width, step_width, sigma_max)
        self.sender = nn.Linear(atoms, width, bias=False)
        self.receiver = nn.Linear(atoms, width, bias=False)
        self.connection = nn.Embedding(MAX_GRAPH_DISTANCE + 1, width)
        self.order = nn.Parameter(torch.randn(width))

    def forward(
        self, molecule: Conditions, atoms: Tensor, vectors: Tensor, step: Tensor, s: Tensor
    ) -> Tensor:
        """Return features of every pair of atoms with features (atoms, width); see `features`."""
        identity = (
            self.receiver(atoms).unsqueeze(1)
            + self.sender(atoms).unsqueeze(0)
            + self.connection(molecule.apart)
            + molecule.orders.unsqueeze(-1) * self.order
        )
        return self.features(vectors, step, s, identity, molecule.mean, molecule.sd)


class SharedDihedrals(DihedralMessages):
    """What atoms learn from the dihedral angles of any molecule, and of the hands of its centres.

    A dihedral about an atom with a lasting hand is told this hand and its product with the sines of
    the angle: what is to be learned is whether the two agree, not which hand molecules have.
    """

    def __init__(self, atoms: int, width: int, step_width: int, scalars: int, vectors: int):
        super().__init__()
        self.places = nn.Linear(atoms, 4 * width, bias=False)
        self.improper = nn.Parameter(torch.randn(width) * 0.5)
        self.hand = nn.Parameter(torch.randn(width) * 0.5)
        self.agrees = nn.Linear(3, width, bias=False)
        self.make_messages(width, step_width, scalars, vectors)

    def forward(
        self, molecule: Conditions, atoms: Tensor, positions: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what to add to the scalars and to the vectors of each atom."""
        i, j, k, other = (positions[:, index] for index in molecule.dihedrals.unbind(1))
        geometry = dihedral_geometry(i, j, k, other)
        sines = geometry[0].unflatten(-1, (3, 2))[..., 1]
        hand = molecule.hand.unsqueeze(1)
        places = self.places(atoms).chunk(4, dim=-1)
        identity = torch.stack(
            [table[molecule.dihedrals[:, place]] for place, table in enumerate(places)]
        ).sum(0)
        identity = identity + molecule.improper.unsqueeze(1) * self.improper + hand * self.hand
        return self.messages(
            geometry,
            identity + self.agrees(hand * sines),
            self.step(step).unsqueeze(1),
            lambda sent: molecule.end @ sent,
            lambda sent: molecule.centre @ sent,
        )


class SharedConfig(AttentionConfig):
    """Dense equivariant attention that knows atoms by their chemistry, for many molecules."""

    kind: Literal["shared"] = "shared"
    rounds: int = Field(3, ge=0, description="bonds along which atoms learn of their surroundings")


class SharedAttention(AttentionNetwork):
    """SE(3)-equivariant network whose weights belong to no molecule.

    Parameters
    ----------
    graph : MolecularGraph
        The molecule of `vectors_and_scalars`, until `speak_of` names others; with hands, or it
        does not know its own.
    inputs : int
        Brownian vectors per atom.
    duration : float
        Length of the clock on which the two times live.
    scalars, vectors, heads, layers, pair_width, rounds : int
        Sizes; `heads` divides `scalars` and `vectors`.
    sigma_max : float
        Width of the noise on the positions at time 0 in units of the data.
    outputs : int
        Vectors returned for each atom.
    setting : bool
        Whether steps have a number from 0 to 1 besides, see `StepEmbedding`.
    """

    configuration = SharedConfig
    many: ClassVar = True

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        scalars: int = 64,
        vectors: int = 32,
        heads: int = 8,
        layers: int = 4,
        pair_width: int = 32,
        rounds: int = 3,
        sigma_max: float = 10.0,
        outputs: int = 1,
        setting: bool = False,
    ):
        super().__init__()
        self.step = StepEmbedding(duration, 64, setting=setting)
        self.atoms = AtomEncoder(scalars, rounds)
        self.make_entrance(inputs, vectors)
        self.pairs = SharedPairs(scalars, 1 + inputs, pair_width, 64, sigma_max)
        self.dihedrals = SharedDihedrals(scalars, pair_width, 64, scalars, vectors)
        self.make_layers(scalars, vectors, heads, layers, pair_width, outputs)
        self.count = 0
        self.speak_of([graph], None)

    def speak_of(self, graphs: Sequence[MolecularGraph], chemistry: Chemistry | None) -> None:
        """Name the molecules, and what was seen of such; the weights stay what they are."""
        example = self.last
        self.count = len(graphs)
        for k, graph in enumerate(graphs):
            for name, value in conditions_of(graph, chemistry)._asdict().items():
                kind = example.dtype if value.is_floating_point() else value.dtype
                there = value.to(device=example.device, dtype=kind)
                self.register_buffer(f"molecule{k}_{name}", there, persistent=False)

    def molecule(self, k: int = 0, named: bool = True) -> Conditions:
        """Return one of the molecules, with the names of its residues or without."""
        found = Conditions(*(getattr(self, f"molecule{k}_{part}") for part in Conditions._fields))
        if named:
            return found
        return found._replace(residue=torch.full_like(found.residue, UNNAMED))

    def of(self, k: int, named: bool = True) -> OneOfMany:
        """Return the network of one of the molecules, with the same weights."""
        return OneOfMany(self, k, named)

    def measured_pairs(self) -> Tensor:
        """Return none: what distances are like is told with `speak_of`."""
        return torch.empty(0, 2, dtype=torch.long)

    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Do nothing, see `measured_pairs`."""

    def vectors_and_scalars(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom of the first molecule."""
        return self.of_molecule(self.molecule(), positions, noise, s, t, setting)

    def of_molecule(
        self,
        molecule: Conditions,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a vector and features for each atom of a molecule, as `vectors_and_scalars`."""
        atoms = self.atoms(molecule)
        pairs, dihedrals = (
            partial(part, molecule, atoms) for part in (self.pairs, self.dihedrals)
        )
        return self.through(positions, noise, s, t, setting, atoms, pairs, dihedrals)


class OneOfMany(nn.Module):
    """A shared network bound to one of its molecules.

    Parameters
    ----------
    network : SharedAttention
    k : int
        Which.
    named : bool
        Whether it is told the names of residues.
    """

    def __init__(self, network: SharedAttention, k: int, named: bool = True):
        super().__init__()
        self.network, self.k, self.named = network, k, named

    def forward(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> Tensor:
        """Return the vectors alone; shapes as in `EquivariantNetwork`."""
        molecule = self.network.molecule(self.k, self.named)
        return self.network.of_molecule(molecule, positions, noise, s, t, setting)[0]
