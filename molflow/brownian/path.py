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
        self._nodes: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
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
        z = upload(self._query(0, 0, first, last).to(self.dtype), self.device)
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

    def _query(self, level: int, index: int, first: int, last: int) -> Tensor:
        """Whitened features from tick `first` to `last`, both inside the node."""
        width = 2 ** (self.depth - level)
        start = index * width
        if (first, last) == (start, start + width):
            return self._node(level, index)
        middle = start + width // 2
        if last <= middle:
            return self._query(level + 1, 2 * index, first, last)
        if first >= middle:
            return self._query(level + 1, 2 * index + 1, first, last)
        left = self._query(level + 1, 2 * index, first, middle)
        right = self._query(level + 1, 2 * index + 1, middle, last)
        return self._join(left, right, middle - first, last - middle)

    def _join(self, left: Tensor, right: Tensor, ticks_left: int, ticks_right: int) -> Tensor:
        matrix = _join_matrix(self.basis, self._length(ticks_left), self._length(ticks_right))
        return torch.cat([left, right], dim=-1) @ matrix.mT

    def _node(self, level: int, index: int) -> Tensor:
        key = (level, index)
        if key in self._nodes:
            self._nodes.move_to_end(key)
            return self._nodes[key]
        if level == 0:
            self._keep(key, self._normals("root", 0))
            return self._nodes[key]
        parent = self._node(level - 1, index // 2)
        xi = self._normals(level - 1, index // 2)
        half = self._length(2**self.depth) / 2**level
        halves = torch.cat([parent, xi], dim=-1) @ _split_matrix(self.basis, half).mT
        left, right = halves.chunk(2, dim=-1)
        # The asked one last: it must be the last to leave the cache.
        for child in sorted((2 * (index // 2), 2 * (index // 2) + 1), key=index.__eq__):
            self._keep((level, child), (right if child % 2 else left).contiguous())
        return self._nodes[key]

    def _keep(self, key: tuple[int, int], z: Tensor) -> None:
        self._nodes[key] = z
        self._nodes.move_to_end(key)
        while len(self._nodes) > self._capacity:
            self._nodes.popitem(last=False)

    def _normals(self, level: int | str, index: int) -> Tensor:
        # Philox takes the whole key, torch's CPU generator only its lowest 32 bits, which
        # would make two of a hundred thousand intervals alike.
        key = derive_seed(self.seed, level, index)
        generator = np.random.Generator(np.random.Philox(key=key))
        draws = generator.standard_normal((*self.shape, self.basis.size), dtype=np.float32)
        return torch.from_numpy(draws).double()


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
