"""One Brownian path that can be asked for any of its increments: a virtual Brownian tree."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join_matrix
from molflow.brownian.increment import Increment
from molflow.brownian.refine import split_matrix
from molflow.devices import upload
from molflow.errors import MolflowError
from molflow.seeds import derive_seed

_CACHE_BYTES = 1 << 28


class BrownianPath:
    """A Brownian path on [t0, t1], the same for every order and number of queries.

    Each interval of the binary tree draws what its parent does not say about its halves from a
    generator of its own, keyed by (seed, level, index), so nothing has to be stored. All
    arithmetic is float64 on the CPU: the path does not depend on `dtype` or `device`.

    Parameters
    ----------
    basis : Basis
        The features of the increments.
    t0, t1 : float
        Ends of the path, in the walking direction.
    shape : tuple of int
        (B, *shape), for molecules (B, atoms, 3): independent paths.
    seed : int
    depth : int
        Times are whole multiples of (t1 - t0) 2^-depth after t0. A step between two points of
        a uniform grid of 2^k steps costs one node of the tree, any other up to 2 depth nodes.
    dtype, device
        Of the features of the increments handed out; their lengths are on the processor.
    """

    def __init__(
        self,
        basis: Basis,
        t0: float,
        t1: float,
        shape: tuple[int, ...],
        seed: int,
        depth: int = 20,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not (math.isfinite(t0) and math.isfinite(t1) and t0 < t1):
            raise MolflowError(f"The path runs from {t0} to {t1}: give finite times, t0 < t1.")
        if not isinstance(depth, int) or not 0 <= depth <= 40:
            raise MolflowError(f"depth is {depth}: give a whole number from 0 to 40.")
        if len(shape) < 1 or min(shape) < 1:
            raise MolflowError(f"shape is {tuple(shape)}: give the batch and the shape of a state.")
        self.basis, self.t0, self.t1, self.shape = basis, float(t0), float(t1), tuple(shape)
        self.seed, self.depth, self.dtype, self.device = seed, depth, dtype, device
        self._cache: OrderedDict[tuple[str | int, ...], Tensor] = OrderedDict()
        node_bytes = 8 * basis.size * math.prod(shape)
        self._capacity = max(4 * depth + 4, _CACHE_BYTES // node_bytes)

    def snap(self, t: float) -> float:
        """Return the time of the grid nearest to t."""
        return self._time(self._tick(t))

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from `snap(s)` to `snap(t)`; its h has shape ().

        Raises
        ------
        MolflowError
            If the times lie outside the path, or t is not after s on the grid.
        """
        first, last = self._tick(s), self._tick(t)
        if first >= last:
            raise MolflowError(
                f"The step runs from {s} to {t}: t must come after s by at least "
                f"{self._time(1) - self.t0:.3g}, the spacing of the path's grid."
            )
        z = upload(self._between(first, last).to(self.dtype), self.device)
        h = torch.tensor(self._length(last - first), dtype=self.dtype)
        # The length stays on the processor, where all that follows from it alone is computed.
        return Increment.from_whitened(self.basis, h, z, _cholesky(self.basis, float(h)))

    def _tick(self, t: float) -> int:
        if torch.is_tensor(t) and t.numel() != 1:
            raise MolflowError(
                f"The time has shape {tuple(t.shape)}: ask a path for one step at a time."
            )
        t = float(t)
        span = self.t1 - self.t0
        if not self.t0 - 1e-6 * span <= t <= self.t1 + 1e-6 * span:
            raise MolflowError(
                f"The time {t} lies outside the path, which runs from {self.t0} to {self.t1}."
            )
        return min(max(round((t - self.t0) / span * 2**self.depth), 0), 2**self.depth)

    def _time(self, tick: int) -> float:
        return self.t1 if tick == 2**self.depth else self.t0 + self._length(tick)

    def _length(self, ticks: int) -> float:
        return (self.t1 - self.t0) * (ticks / 2**self.depth)

    def _between(self, first: int, last: int) -> Tensor:
        """Whitened features from tick `first` to `last`."""
        level, index = self.depth, first
        while (index + 1) << (self.depth - level) < last:  # to the node that contains both
            level, index = level - 1, index // 2
        below = self.depth - level
        start = index << below
        own = self._node(level, index)
        draws, matrix = _combination(
            self.basis, self._length(1 << below), below, first - start, last - start
        )
        if not draws:
            return own
        drawn = [self._draw(level + down, (index << down) + along) for down, along in draws]
        size = self.basis.size
        return own @ matrix[:, :size].mT + torch.cat(drawn, dim=-1).double() @ matrix[:, size:].mT

    def _node(self, level: int, index: int) -> Tensor:
        if (kept := self._kept("node", level, index)) is not None:
            return kept
        if level == 0:
            root = torch.from_numpy(self._normals("root", 0)).double()
            return self._keep(("node", 0, 0), root)
        parent, xi = self._node(level - 1, index // 2), self._draw(level - 1, index // 2)
        half = self._length(2**self.depth) / 2**level
        halves = torch.cat([parent, xi.double()], dim=-1) @ _split_matrix(self.basis, half).mT
        left, right = (part.contiguous() for part in halves.chunk(2, dim=-1))
        # The asked one last: it must be the last to leave the cache.
        asked, other = (right, left) if index % 2 else (left, right)
        self._keep(("node", level, index ^ 1), other)
        return self._keep(("node", level, index), asked)

    def _draw(self, level: int, index: int) -> Tensor:
        """What a node does not say of its halves, standard normal, float32."""
        if (kept := self._kept("draw", level, index)) is not None:
            return kept
        return self._keep(("draw", level, index), torch.from_numpy(self._normals(level, index)))

    def _kept(self, *key: str | int) -> Tensor | None:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        return None

    def _keep(self, key: tuple[str | int, ...], z: Tensor) -> Tensor:
        self._cache[key] = z
        self._cache.move_to_end(key)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return z

    def _normals(self, level: int | str, index: int) -> np.ndarray:
        # Philox takes the whole key, torch's CPU generator only its lowest 32 bits, which
        # would make two of a hundred thousand intervals alike.
        key = derive_seed(self.seed, level, index)
        generator = np.random.Generator(np.random.Philox(key=key))
        return generator.standard_normal((*self.shape, self.basis.size), dtype=np.float32)


# The matrices depend on lengths alone, and the many paths of a batch are asked for the same steps.
@lru_cache(maxsize=4096)
def _join_matrix(basis: Basis, left: float, right: float) -> Tensor:
    return join_matrix(basis, *(torch.tensor(h, dtype=torch.float64) for h in (left, right)))


@lru_cache(maxsize=4096)
def _cholesky(basis: Basis, h: float) -> Tensor:
    return basis.cholesky(torch.tensor(h, dtype=torch.float64))


@lru_cache(maxsize=4096)
def _split_matrix(basis: Basis, half: float) -> Tensor:
    length = torch.tensor(half, dtype=torch.float64)
    return split_matrix(basis, length, length)


@lru_cache(maxsize=1024)
def _combination(
    basis: Basis, length: float, below: int, first: int, last: int
) -> tuple[list[tuple[int, int]], Tensor]:
    """Return a part of a node as a linear combination of the node and of draws inside.

    One product with all that was drawn, where going down the tree would take one at each node.

    Parameters
    ----------
    basis : Basis
    length : float
        Of the node.
    below : int
        The node is 2^below ticks long.
    first, last : int
        Ticks of the part, from the start of the node.

    Returns
    -------
    list of (int, int)
        How many levels below and where there the draws are, k of them.
    Tensor, (size, (1 + k) size), float64
        By which the node's features and then those drawn are multiplied.
    """
    size, draws = basis.size, []
    identity = torch.eye(size, dtype=torch.float64)
    columns = size * (2 * below + 1)

    def part(level: int, index: int, first: int, last: int, own: Tensor) -> Tensor:
        """The part of a node below, whose own combination is given."""
        ticks = 1 << (below - level)
        start, middle = index * ticks, index * ticks + ticks // 2
        if (first, last) == (start, start + ticks):
            return own
        draws.append((level, index))
        drawn = own.new_zeros(size, columns)
        drawn[:, len(draws) * size : (len(draws) + 1) * size] = identity
        halves = _split_matrix(basis, length / 2 ** (level + 1)) @ torch.cat([own, drawn])
        left, right = halves.chunk(2)
        if last <= middle:
            return part(level + 1, 2 * index, first, last, left)
        if first >= middle:
            return part(level + 1, 2 * index + 1, first, last, right)
        both = [
            part(level + 1, 2 * index, first, middle, left),
            part(level + 1, 2 * index + 1, middle, last, right),
        ]
        lengths = ((ticks * length / 2**below) for ticks in (middle - first, last - middle))
        return _join_matrix(basis, *lengths) @ torch.cat(both)

    whole = torch.zeros(size, columns, dtype=torch.float64)
    whole[:, :size] = identity
    found = part(0, 0, first, last, whole)
    return draws, found[:, : (1 + len(draws)) * size]
