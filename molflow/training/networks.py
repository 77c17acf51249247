"""From the configuration of a network to the network."""

from __future__ import annotations

from molflow.nn.graph import MolecularGraph
from molflow.nn.network import EquivariantNetwork
from molflow.training.network_configuration import NetworkConfig


def build_network(
    config: NetworkConfig,
    graph: MolecularGraph,
    inputs: int,
    duration: float,
    sigma_max: float,
    outputs: int = 1,
) -> EquivariantNetwork:
    """Return an untrained network of a configuration.

    Parameters
    ----------
    config : NetworkConfig
    graph : MolecularGraph
        The molecule.
    inputs : int
        Brownian vectors per atom.
    duration : float
        Length of the clock on which the two times live.
    sigma_max : float
        Width of the noise on the positions at time 0 in units of the data; 0 for none at all.
    outputs : int
        Vectors returned for each atom.
    """
    sizes = config.model_dump(exclude={"kind"})
    network = _network_class(config.kind)
    return network(graph, inputs, duration, sigma_max=sigma_max, outputs=outputs, **sizes)


def _network_class(kind: str) -> type[EquivariantNetwork]:
    """Load the class of a kind, and its libraries with it, when it is asked for."""
    if kind == "sparse":
        from molflow.nn.sparse_attention import SparseAttention

        return SparseAttention
    if kind == "tensor_product":
        from molflow.nn.tensor_product import TensorProductNetwork

        return TensorProductNetwork
    from molflow.nn.dense_attention import DenseAttention

    return DenseAttention
