"""What the molecules of a training show to a network that is to speak of others too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molflow.data.distances import distance_statistics
from molflow.nn.chemistry import Chemistry
from molflow.nn.registry import NETWORKS
from molflow.training.kinds import Material


def chemistry_for(materials: Sequence[Material]) -> Chemistry | None:
    """Return the chemistry of a training, None for a network of one molecule.

    A run that starts from a map keeps what that has seen: its weights are told distances in that
    way, and its unit is theirs.
    """
    first = materials[0]
    if not NETWORKS[first.settings.network.kind].many:
        return None
    if first.known is not None:
        return first.known
    scales = np.array([material.data.scale for material in materials])
    found = []
    for material in materials:
        n = material.graph.n_atoms
        pairs = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
        mean, sd = distance_statistics(material.data.train, pairs)
        found.append((mean.reshape(n, n), sd.reshape(n, n)))
    graphs = [material.graph for material in materials]
    return Chemistry.of(graphs, float(np.sqrt(np.mean(scales**2))), found)
