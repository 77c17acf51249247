"""The one interface of all networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from molflow.section import Section


class EquivariantNetwork(nn.Module, ABC):
    """A molecule, its positions, Brownian vectors and two times -> vectors for each atom.

    The molecule (elements, residues, names and bonds) is given when a network is made, see
    `MolecularGraph`. Turning positions and every Brownian vector turns the vectors and leaves the
    scalars; mirroring them does not mirror the vectors, because molecules have a hand. The members
    of a batch know nothing of each other.

    Attributes
    ----------
    configuration : type[Section]
        The sizes that its constructor takes besides what `build_network` gives, checked and
        described; with a ``kind``, its name in the registry.
    many : bool
        Whether its weights belong to no molecule; then it has ``speak_of`` and ``of`` as
        `SharedAttention` has them.
    atom_tables : dict
        Weights that have a row for each atom, with the axis of the atoms. A network that names all
        of them can start from one of another molecule whose atoms are of the same kinds.
    products : str
        One of `PRECISIONS`, of the matrix products by which atoms tell each other of themselves.
        Distances, which are small differences of large products, and the vectors that leave the
        network, which are places of atoms, have that of the weights.
    """

    configuration: ClassVar[type[Section]]
    many: ClassVar[bool] = False
    atom_tables: ClassVar[dict[str, int]] = {}
    products: str = "float32"

    def forward(
        self,
        positions: Tensor,
        noise: Tensor,
        s: Tensor,
        t: Tensor,
        setting: Tensor | None = None,
    ) -> Tensor:
        """Return the vectors alone; shapes as in `vectors_and_scalars`.

        Networks that are built for it are given a number from 0 to 1 besides, `setting` of shape
        (batch,); the others need not know of it.
        """
        own = () if setting is None else (setting,)
        return self.vectors_and_scalars(positions, noise, s, t, *own)[0]

    @abstractmethod
    def vectors_and_scalars(
        self, positions: Tensor, noise: Tensor, s: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what the network says of each atom.

        Parameters
        ----------
        positions : Tensor, (batch, atoms, 3)
            Centred, of about unit size.
        noise : Tensor, (batch, atoms, 3, inputs)
            Brownian vectors of the step, of about unit size, zero for a step of length zero.
        s, t : Tensor, (batch,)
            The ends of the step.

        Returns
        -------
        Tensor, (batch, atoms, 3), or (batch, atoms, 3, outputs) of a network with several outputs
            Zero at initialisation, so that the map is its exact lift.
        Tensor, (batch, atoms, channels)
            Invariant features.
        """

    @abstractmethod
    def measured_pairs(self) -> Tensor:
        """Return the pairs of atoms, (P, 2), whose distances in the data the network asks for."""

    @abstractmethod
    def set_statistics(self, mean: Tensor, sd: Tensor) -> None:
        """Set mean and standard deviation of the distances of `measured_pairs` in the data, (P,).

        In units of the data, before training; a checkpoint keeps them.
        """


def layers_to_recompute(network: Any) -> Any:
    """Return the layers of a network that could compute them again in the backward pass.

    None of a network that cannot, or does so already (``recompute``).
    """
    if getattr(network, "recompute", True) or not hasattr(network, "blocks"):
        return None
    return network.blocks
