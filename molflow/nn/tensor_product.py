"""Message passing by tensor products of irreducible representations (e3nn).

A message is the product of what the sender knows with spherical harmonics of the direction to it,
weighted for each channel by the features of the edge (NequIP, Batzner et al. 2022,
doi:10.1038/s41467-022-29939-5). All representations are labelled even, ``1e`` for vectors, so that
cross products are among the products allowed: the network is SE(3)-equivariant, not E(3).
"""

from __future__ import annotations

import torch
from e3nn.nn import Gate
from e3nn.o3 import Irreps, Linear, SphericalHarmonics
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.utils import scatter

from molflow.errors import MolflowError
from molflow.nn.channel_products import ChannelProducts
from molflow.nn.edges import EdgeFeatures, Edges
from molflow.nn.graph import MolecularGraph
from molflow.nn.graph_network import GraphNetwork


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


class TensorProductLayer(nn.Module):
    """One round of messages, a gated nonlinearity and a residual.

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
        self.scalars = irreps.count("0e")
        self.norm = nn.LayerNorm(self.scalars, elementwise_affine=False)
        self.step = nn.Linear(step_width, irreps.num_irreps + self.scalars)
        sizes = torch.tensor([ir.dim for mul, ir in irreps for _ in range(mul)])
        component = torch.arange(irreps.num_irreps).repeat_interleave(sizes)
        self.register_buffer("component", component, persistent=False)
        self.up = Linear(irreps, irreps)
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
        self.down = Linear(self.product.out, self.gate.irreps_in)
        self.own = Linear(irreps, self.gate.irreps_in)

    def forward(
        self, state: Tensor, edges: Edges, harmonics: Tensor, step: Tensor, molecule: Tensor
    ) -> Tensor:
        """Return the updated state, (N, irreps.dim)."""
        shift, factor = self.step(step).tensor_split([self.scalars], dim=-1)
        hidden = torch.cat([self.norm(state[:, : self.scalars]), state[:, self.scalars :]], dim=-1)
        scale = 1.0 + factor.index_select(1, self.component).index_select(0, molecule)
        shift = nn.functional.pad(shift, (0, state.shape[1] - self.scalars))
        hidden = hidden * scale + shift.index_select(0, molecule)
        weights = self.weight(edges.features) * edges.weight.unsqueeze(-1)
        sent = self.up(hidden).index_select(0, edges.sender)
        parts = [*self.product(sent, harmonics, weights), edges.weight.unsqueeze(-1)]
        *parts, degree = (scatter(part, edges.receiver, dim_size=len(state)) for part in parts)
        messages = torch.cat(parts, dim=-1)
        return state + self.gate(self.down(messages * torch.rsqrt(1.0 + degree)) + self.own(hidden))


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
    ):
        parsed = even_irreps(irreps)
        scalars, vectors = parsed.count("0e"), parsed.count("1e")
        super().__init__(
            graph, inputs, duration, scalars, vectors, edge_width, neighbours, sigma_max, outputs
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
        n, width = scalars.shape[1], vectors.shape[2]
        state = torch.cat([scalars, vectors.transpose(1, 2).flatten(1)], dim=-1)
        state = nn.functional.pad(state, (0, self.dim - state.shape[1]))
        harmonics = self.harmonics(edges.direction)
        for block in self.blocks:
            arguments = state, edges, harmonics, step, molecule
            if self.recompute and torch.is_grad_enabled():
                state = checkpoint(block, *arguments, use_reentrant=False)
            else:
                state = block(*arguments)
        vectors = state[:, n : n + 3 * width].reshape(-1, width, 3).transpose(1, 2)
        return state[:, :n], vectors
