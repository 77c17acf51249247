"""The networks there are, and from the configuration of one to the network."""

from __future__ import annotations

from typing import Any

from molflow.nn.graph import MolecularGraph
from molflow.nn.network import EquivariantNetwork
from molflow.registry import Registry
from molflow.section import Section, chosen

#: Classes with a `configuration`, by the name that ``network.kind`` has; the first is that of files
#: from before there was a choice. A class is loaded, and its libraries with it, when asked for.
NETWORKS: Registry[type[EquivariantNetwork]] = Registry(
    "network",
    "molflow.networks",
    {
        "dense": "molflow.nn.dense_attention:DenseAttention",
        "shared": "molflow.nn.shared_attention:SharedAttention",
        "sparse": "molflow.nn.sparse_attention:SparseAttention",
        "tensor_product": "molflow.nn.tensor_product:TensorProductNetwork",
    },
)


def network_configuration(section: dict[str, Any] | Section) -> Section:
    """Return the checked configuration of a network.

    Raises
    ------
    ValueError
        If the kind or a key is unknown, or a value is not allowed.
    """
    return chosen(section, NETWORKS, "dense", "network")


def build_network(
    config: Any,
    graph: MolecularGraph,
    inputs: int,
    duration: float,
    sigma_max: float,
    outputs: int = 1,
    setting: bool = False,
) -> EquivariantNetwork:
    """Return an untrained network of a configuration.

    Parameters
    ----------
    config : Section
        From `network_configuration`.
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
    setting : bool
        Whether steps have a number from 0 to 1 besides; other networks need not know of it.
    """
    sizes = config.model_dump(exclude={"kind"})
    if setting:
        sizes["setting"] = True
    network = NETWORKS[config.kind]
    return network(graph, inputs, duration, sigma_max=sigma_max, outputs=outputs, **sizes)
