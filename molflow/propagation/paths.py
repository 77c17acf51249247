"""The Brownian paths of many chains, as long as one likes, by seed and absolute time."""

from __future__ import annotations

import math
from collections import OrderedDict
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


class ChainPaths:
    """Brownian paths that begin at time 0 and have no end.

    What they do between two times depends on the seed, the times and the basis; not on what was
    asked before, nor on how many chains there are: the first chains of many are those of few.

    Parameters
    ----------
    basis : Basis
    chains, n_atoms : int
    seed : int
    """

    def __init__(self, basis: Basis, chains: int, n_atoms: int, seed: int):
        self.basis, self.shape, self.seed = basis, (chains, n_atoms, 3), seed
        self._windows: OrderedDict[int, BrownianPath] = OrderedDict()

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
            part = self._window(index).increment(start * WINDOW / width, stop * WINDOW / width)
            whole = part if whole is None else join(whole, part)
            first = index * width + stop
        assert whole is not None, "the step has a length"
        return whole

    def _window(self, index: int) -> BrownianPath:
        if index not in self._windows:
            seed = derive_seed(self.seed, "window", index)
            path = BrownianPath(self.basis, 0.0, WINDOW, self.shape, seed, DEPTH, torch.float64)
            self._windows[index] = path
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
    """

    def __init__(self, noise: ResidualNoise, temperature: float, friction: float, seed: int):
        self.seed = seed

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
        key = derive_seed(self.seed, "residual", round(s / WINDOW * 2**DEPTH))
        generator = np.random.Generator(np.random.Philox(key=key))
        normal = torch.from_numpy(generator.standard_normal((len(x), x[0].numel())))
        # Rounding of times must not count as another length.
        factor = self._factor(round(h, 9), x.device)
        return x + self._noise_on(x.device).draw(x[:, 0], factor, upload(normal, x.device))


def steps_between_frames(interval: float, lag: float) -> int:
    """Return the least number of equal steps, none longer than the lag, in an interval."""
    return max(1, math.ceil(interval / lag - 1e-6))
