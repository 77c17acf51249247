"""Which nodes of a graph are alike: colour refinement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def refined(colours: Sequence[Any], neighbours: Sequence[Sequence[int]]) -> list[int]:
    """Return colours that tell nodes apart as far as their surroundings do.

    Nodes of one colour get different ones if their neighbours have different colours, until
    nothing changes (Weisfeiler and Leman). Nodes that a symmetry of the graph exchanges keep the
    same colour; for molecules the reverse holds but for graphs as regular as cages.

    Parameters
    ----------
    colours : sequence
        Of the nodes at the beginning, such as elements.
    neighbours : sequence of sequences of int

    Returns
    -------
    list of int
        Colours from 0.
    """
    ranks = {colour: rank for rank, colour in enumerate(sorted(set(colours)))}
    found = [ranks[colour] for colour in colours]
    while True:
        keys = [(found[i], *sorted(found[j] for j in row)) for i, row in enumerate(neighbours)]
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        if len(ranks) == len(set(found)):
            return found
        found = [ranks[key] for key in keys]
