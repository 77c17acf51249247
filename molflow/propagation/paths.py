"""The Brownian paths of many chains, as long as one likes, by seed and absolute time."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.brownian.path import BrownianPath
from molflow.devices import upload
from molflow.errors import MolflowError
from molflow.maps.langevin.residual_noise import ResidualNoise
from molflow.seeds import derive_seed

#: ps. What a Brownian path does in separate windows is independent, so each has a tree of its own.
#: Steps of WINDOW, of its halves, quarters and so on, and of its multiples cost least.
WINDOW = 0.04
#: Times are whole multiples of WINDOW 2^-DEPTH, 0.6 attoseconds.
DEPTH = 16
#: Chains that share a generator: a worker that has some of them draws no more than these.
BLOCK = 64


@dataclass(frozen=True)
class _Share:
    """The chains of a block that are wanted: rows `first` to `last` of those that are drawn."""

    block: int
    first: int
    last: int

    def seed(self, seed: int) -> int:
        """Return the seed of the block."""
        return derive_seed(seed, "block", self.block) if self.block else seed


def _shares(chains: range) -> list[_Share]:
    return [
        _Share(block, max(chains.start - block * BLOCK, 0), min(chains.stop - block * BLOCK, BLOCK))
        for block in range(chains.start // BLOCK, (chains.stop - 1) // BLOCK + 1)
    ]


class ChainPaths:
    """Brownian paths that begin at time 0 and have no end.

    What they do between two times depends on the seed, the times and the basis; not on what was
    asked before, nor on how many chains there are: the first chains of many are those of few.

    Parameters
    ----------
    basis : Basis
    chains : int or range
        How many, or their numbers.
    n_atoms : int
    seed : int
    """

    def __init__(self, basis: Basis, chains: int | range, n_atoms: int, seed: int):
        self.basis, self.n_atoms, self.seed = basis, n_atoms, seed
        self._shares = _shares(range(chains) if isinstance(chains, int) else chains)
        self._windows: OrderedDict[int, list[BrownianPath]] = OrderedDict()

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment from s to t, to the nearest tick, in float64.

        Features have the shape (chains, n_atoms, 3, size).

        Raises
        ------
        MolflowError
            If s is negative or t not later.
        """
        first, last = (round(time / WINDOW * 2**DEPTH) for time in (s, t))
        if not 0 <= first < last:
            raise MolflowError(
                f"the step runs from {s} ps to {t} ps: times begin at 0, and t comes after s by at "
                f"least {WINDOW * 2**-DEPTH:.2g} ps."
            )
        width = 2**DEPTH
        whole: Increment | None = None
        while first < last:
            index, start = divmod(first, width)
            stop = min(width, last - index * width)
            part = self._inside(index, start * WINDOW / width, stop * WINDOW / width)
            whole = part if whole is None else join(whole, part)
            first = index * width + stop
        assert whole is not None, "the step has a length"
        return whole

    def _inside(self, index: int, s: float, t: float) -> Increment:
        """Return the increment inside a window."""
        parts = [path.increment(s, t) for path in self._window(index)]
        rows = [
            part.whitened()[share.first : share.last]
            for share, part in zip(self._shares, parts, strict=True)
        ]
        return parts[0].with_whitened(rows[0] if len(rows) == 1 else torch.cat(rows))

    def _window(self, index: int) -> list[BrownianPath]:
        if index not in self._windows:
            self._windows[index] = [
                BrownianPath(
                    self.basis, 0.0, WINDOW, (share.last, self.n_atoms, 3),
                    derive_seed(share.seed(self.seed), "window", index), DEPTH, torch.float64,
                )
                for share in self._shares
            ]  # fmt: skip
            while len(self._windows) > 2:
                self._windows.popitem(last=False)
        return self._windows[index]


class ChainResiduals:
    """Residual noise of many chains, by seed and the time at which a step begins.

    Independent of the Brownian paths; up to rounding the first chains of many get that of few.

    Parameters
    ----------
    noise : ResidualNoise
    temperature, friction : float
        K and 1/ps.
    seed : int
    chains : range, optional
        Their numbers, by default from 0 on.
    """

    def __init__(
        self, noise: ResidualNoise, temperature: float, friction: float, seed: int,
        chains: range | None = None,
    ):  # fmt: skip
        self.seed, self.chains = seed, chains

        @lru_cache
        def factor(h: float, device: torch.device) -> Tensor:
            return noise.factor(h, temperature, friction).to(device)

        self._factor, self._noise_on = factor, lru_cache(noise.on)

    def added(self, s: float, h: float, x: Tensor) -> Tensor:
        """Return states (chains, 2, n_atoms, 3), float64, with the noise of the step to them.

        Parameters
        ----------
        s, h : float
            When the step began and its length, ps.
        """
        tick, rows = round(s / WINDOW * 2**DEPTH), []
        for share in _shares(range(len(x)) if self.chains is None else self.chains):
            key = derive_seed(share.seed(self.seed), "residual", tick)
            generator = np.random.Generator(np.random.Philox(key=key))
            rows.append(generator.standard_normal((share.last, x[0].numel()))[share.first :])
        normal = torch.from_numpy(np.concatenate(rows))
        # Rounding of times must not count as another length.
        factor = self._factor(round(h, 9), x.device)
        return x + self._noise_on(x.device).draw(x[:, 0], factor, upload(normal, x.device))


def steps_between_frames(interval: float, lag: float) -> int:
    """Return the least number of equal steps, none longer than the lag, in an interval."""
    return max(1, math.ceil(interval / lag - 1e-6))
