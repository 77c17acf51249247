"""The nearest atoms of each atom, found in a time that grows as the number of atoms."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from molflow.nn.sorted_search import sorted_search


@torch.library.custom_op("molflow::nearest", mutates_args=())
def _nearest(
    positions: Tensor, first: Tensor, searching: Tensor, pairs: Tensor, count: int
) -> Tensor:
    if positions.device.type != "cpu":
        return sorted_search(positions, first, searching, pairs, count)
    # On a processor a tree is three to ten times as fast as operations on whole arrays.
    x = positions.detach().double().numpy()
    asking, known = searching.numpy(), pairs.numpy()
    n = len(x)
    degree = np.bincount(known[1], minlength=n)
    keys = np.sort(known[1] * n + known[0])
    found = np.empty((len(asking), count), dtype=np.int64)
    for begin, end in zip(*(part.tolist() for part in (first[:-1], first[1:])), strict=True):
        rows = slice(*np.searchsorted(asking, [begin, end]))
        own = asking[rows, None]
        if not len(own):
            continue
        # Itself and those already known are among the nearest, so ask for so many more.
        k = min(end - begin, count + 1 + int(degree[begin:end].max()))
        near = begin + cKDTree(x[begin:end]).query(x[own[:, 0]], k=range(1, k + 1))[1]
        key = own * n + near
        place = np.searchsorted(keys, key).clip(max=len(keys) - 1)
        other = (near != own) & (keys[place] != key if len(keys) else True)
        order = np.argsort(~other, axis=1, kind="stable")[:, :count]
        kept = np.take_along_axis(np.where(other, near, own), order, axis=1)
        # Fewer atoms than asked for: the rest of the row is the atom itself.
        missing = ((0, 0), (0, count - kept.shape[1]))
        found[rows] = np.where(
            np.pad(np.ones_like(kept, dtype=bool), missing), np.pad(kept, missing), own
        )
    return torch.from_numpy(found)


@_nearest.register_fake
def _(positions, first, searching, pairs, count):
    return searching.new_empty((searching.shape[0], count))


def nearest(
    positions: Tensor, first: Tensor, searching: Tensor, pairs: Tensor, count: int
) -> Tensor:
    """Return the nearest atoms of the same molecule that are not paired with an atom already.

    By scipy's k-d tree on the processor, by `sorted_search` on other devices. The choice itself has
    no derivative.

    Parameters
    ----------
    positions : Tensor, (N, 3)
    first : Tensor, (M + 1,)
        First atom of each molecule, and N.
    searching : Tensor, (S,)
        The atoms that ask, in increasing order.
    pairs : Tensor, (2, P)
        Sender and receiver of the pairs that are known.
    count : int
        How many are wanted.

    Returns
    -------
    Tensor, (S, count), int
        Nearest first. Where a molecule has too few atoms, the atom itself fills the row.
    """
    return _nearest(positions.detach(), first, searching, pairs, count)


def envelope(positions: Tensor, searching: Tensor, found: Tensor) -> Tensor:
    """Return weights that make the exchange of the outermost neighbour continuous, (S, count).

    w = [(r² − d²) / (r² + ε)]², d the distance of a neighbour and r that of the last one, which
    has no weight: when another takes its place, nothing jumps, whatever the density. Rows
    that are not full have weight 1, the atom itself 0.
    """
    s, count = found.shape
    own = positions.index_select(0, searching).unsqueeze(1)
    difference = positions.index_select(0, found.flatten()).reshape(s, count, 3) - own
    square = difference.square().sum(-1)
    last = square[:, -1:]
    # A tenth of a bond in a molecule of some thousand atoms at unit size.
    falling = ((last - square) / (last + 1e-4)).square()
    full = (found[:, -1] != searching).unsqueeze(1)
    weight = torch.where(full, falling, torch.ones_like(falling))
    return weight * (found != searching.unsqueeze(1))
