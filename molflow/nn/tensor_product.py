"""Message passing by tensor products of irreducible representations (e3nn).

A message is the product of what the sender knows with spherical harmonics of the direction to it,
weighted for each channel by the features of the edge (NequIP, Batzner et al. 2022,
doi:10.1038/s41467-022-29939-5). After each round atoms are updated by themselves, as in the other
networks: there are tens of times as many edges as atoms, so that it costs next to nothing. All
representations are labelled even, ``1e`` for vectors, so that cross products are among the products
allowed: the network is SE(3)-equivariant, not E(3).
"""

from __future__ import annotations

from typing import Literal

import torch
from e3nn.nn import Gate
from e3nn.o3 import Irreps, SphericalHarmonics
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.utils import scatter

from molflow.errors import MolflowError
from molflow.nn.atom_update import AtomUpdate
from molflow.nn.channel_products import ChannelProducts
from molflow.nn.degree_linear import DegreeLinear
from molflow.nn.edges import EdgeFeatures, Edges
from molflow.nn.graph import MolecularGraph
from molflow.nn.graph_network import GraphNetwork
from molflow.section import Section


def even_irreps(text: str) -> Irreps:
    """Return irreps in the order of l, all even, with scalars and vectors among them.

    Raises
    ------
    MolflowError
        If the text is something else.
    """
    try:
        irreps = Irreps(text).sort().irreps.simplify()
    except ValueError as error:
        raise MolflowError(f"irreps = '{text}' cannot be read: {error}.") from error
    needed = irreps.count("0e") and irreps.count("1e")
    if not needed or any(ir.p != 1 or ir.l > 3 for _, ir in irreps):
        raise MolflowError(_EXPECTED.format(text))
    return irreps


_EXPECTED = (
    "irreps = '{}' must hold scalars (0e) and vectors (1e), and may hold 2e and 3e; odd ones would "
    "make the network blind to handedness: write, say, 32x0e + 16x1e + 8x2e."
)


class TensorProductLayer(AtomUpdate):
    """One round of messages, a gated nonlinearity and a residual, then an update of each atom.

    Parameters
    ----------
    irreps : Irreps
        Of each atom.
    harmonics : Irreps
        Of the directions.
    edge_width, step_width : int
    """

    def __init__(self, irreps: Irreps, harmonics: Irreps, edge_width: int, step_width: int):
        super().__init__()
        self.scalars, self.vectors = irreps.count("0e"), irreps.count("1e")
        self.norm = nn.LayerNorm(self.scalars, elementwise_affine=False)
        self.step = nn.Linear(step_width, irreps.num_irreps + 3 * self.scalars)
        sizes = torch.tensor([ir.dim for mul, ir in irreps for _ in range(mul)])
        component = torch.arange(irreps.num_irreps).repeat_interleave(sizes)
        self.register_buffer("component", component, persistent=False)
        self.up = DegreeLinear(irreps, irreps)
        self.product = ChannelProducts(irreps, harmonics)
        self.weight = nn.Linear(edge_width + EdgeFeatures.GIVEN, self.product.weights)
        others = Irreps([(mul, ir) for mul, ir in irreps if ir.l > 0])
        self.gate = Gate(
            f"{self.scalars}x0e",
            [torch.nn.functional.silu],
            f"{others.num_irreps}x0e",
            [torch.sigmoid],
            others,
        )
        entrance = self.gate.irreps_in.simplify()
        self.down = DegreeLinear(self.product.out, entrance)
        self.own = DegreeLinear(irreps, entrance)
        self.make_update(self.scalars, self.vectors)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor,
        higher: Tensor,
        edges: Edges,
        harmonics: Tensor,
        step: Tensor,
        molecule: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return updated scalars, vectors and what has higher degrees, (N, their dimension).

        The harmonics, (E, harmonics.dim), have the weights of the edges.
        """
        n, factors = self.scalars, self.step.out_features - 3 * self.scalars
        shift, factor, scale2, shift2 = (
            self.step(step).index_select(0, molecule).split([n, factors, n, n], dim=-1)
        )
        state = self._joined(scalars, vectors, higher)
        hidden = self._joined(self.norm(scalars), vectors, higher)
        scale = 1.0 + factor.index_select(1, self.component)
        hidden = hidden * scale + nn.functional.pad(shift, (0, state.shape[1] - n))
        sent = self.up(hidden).index_select(0, edges.sender)
        parts = [*self.product(sent, harmonics, self.weight(edges.features)), edges.weight[:, None]]
        *parts, degree = (scatter(part, edges.receiver, dim_size=len(state)) for part in parts)
        messages = torch.cat(parts, dim=-1) * torch.rsqrt(1.0 + degree)
        state = state + self.gate(self.down(messages) + self.own(hidden))
        sizes = [n, 3 * self.vectors, higher.shape[1]]
        scalars, vectors, higher = state.split(sizes, dim=-1)
        vectors = vectors.unflatten(-1, (-1, 3)).mT
        return *self.update_atoms(scalars, vectors, scale2, shift2), higher

    @staticmethod
    def _joined(scalars: Tensor, vectors: Tensor, higher: Tensor) -> Tensor:
        return torch.cat([scalars, vectors.mT.flatten(-2), higher], dim=-1)


class TensorProductConfig(Section):
    """Message passing by tensor products of irreducible representations, up to degree 3."""

    kind: Literal["tensor_product"] = "tensor_product"
    irreps: str = Field(
        "32x0e + 16x1e + 8x2e",
        pattern=r"^ *\d+x[0-3]e *(\+ *\d+x[0-3]e *)*$",
        description="channels per atom by degree, all even; with 0e and 1e",
    )
    layers: int = Field(3, gt=0)
    edge_width: int = Field(32, gt=0, description="features per edge")
    neighbours: int = Field(
        32, gt=0, description="neighbours looked for; a molecule with no more has all its pairs"
    )
    recompute: bool = Field(
        False,
        description="compute layers again in the backward pass: less memory, a third more time; a "
        "training does so by itself where the memory would not do otherwise",
    )


class TensorProductNetwork(GraphNetwork):
    """Tensor-product message passing; parameters as of `GraphNetwork`.

    Parameters
    ----------
    irreps : str
        Channels of each atom by degree, such as ``32x0e + 16x1e + 8x2e``, up to degree 3; the
        directions have harmonics of all degrees up to the highest.
    layers : int
    recompute : bool
        As in `SparseAttention`.

    Raises
    ------
    MolflowError
        If `irreps` is not of that form.
    """

    configuration = TensorProductConfig

    def __init__(
        self,
        graph: MolecularGraph,
        inputs: int,
        duration: float,
        irreps: str = "32x0e + 16x1e + 8x2e",
        layers: int = 3,
        edge_width: int = 32,
        neighbours: int = 32,
        recompute: bool = False,
        sigma_max: float = 10.0,
        outputs: int = 1,
        setting: bool = False,
    ):
        parsed = even_irreps(irreps)
        scalars, vectors = parsed.count("0e"), parsed.count("1e")
        super().__init__(
            graph, inputs, duration, scalars, vectors, edge_width, neighbours, sigma_max, outputs,
            setting,
        )
        self.recompute, self.dim = recompute, parsed.dim
        harmonics = Irreps([(1, (degree, 1)) for degree in range(parsed.lmax + 1)])
        # Directions are shorter than one where atoms nearly coincide: polynomials, all smooth.
        self.harmonics = SphericalHarmonics(harmonics, False, "component", irreps_in="1e")
        self.blocks = nn.ModuleList(
            TensorProductLayer(parsed, harmonics, edge_width, self.STEP) for _ in range(layers)
        )

    def interact(
        self, scalars: Tensor, vectors: Tensor, edges: Edges, step: Tensor, molecule: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Pass through the layers; higher degrees are zero at the entrance."""
        higher = scalars.new_zeros(len(scalars), self.dim - scalars.shape[1] - vectors[0].numel())
        # Messages are linear in the harmonics, which are smaller than any other part of them.
        harmonics = self.harmonics(edges.direction) * edges.weight.unsqueeze(-1)
        for block in self.blocks:
            scalars, vectors, higher = self.pass_through(
                block, scalars, vectors, higher, edges, harmonics, step, molecule
            )
        return scalars, vectors
