"""Brownian paths on which an equation has been solved: steps of all lengths whose ends are known.

What direct matching learns from wherever the equation can be solved in training.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import dyadic
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, Nonlinear

#: (sde, n, s, t, x, increment) -> state at t; any scheme of this folder.
Scheme = Callable[[AdditiveSDE, Nonlinear, Tensor, Tensor, Tensor, Increment], Tensor]


@dataclass(frozen=True)
class Problem:
    """An equation with known n, where it starts, and how it is solved.

    Parameters
    ----------
    sde : AdditiveSDE
    nonlinear : callable
        n(t, X).
    start : callable
        (count, generator) -> states (count, *shape) at the first time.
    grid : callable
        Number of steps to the list of their ends; that of half as many has every second of them.
    scheme : callable
        One step of the solver.
    fine : int
        Its number of steps, `points` times a power of two.
    points : int
        Steps between states that are kept, a power of two.

    Raises
    ------
    MolflowError
        If `points` or `fine` is not such a number.
    """

    sde: AdditiveSDE
    nonlinear: Nonlinear
    start: Callable[[int, torch.Generator], Tensor]
    grid: Callable[[int], list[float]]
    scheme: Scheme
    fine: int = 512
    points: int = 64

    def __post_init__(self) -> None:
        inner, rest = divmod(self.fine, self.points) if self.points > 0 else (0, 0)
        if rest or not (_power_of_two(self.points) and _power_of_two(inner)):
            raise MolflowError(
                f"points is {self.points} and fine is {self.fine}: give a power of two, and that "
                "times another."
            )

    @property
    def levels(self) -> int:
        """Lengths of steps from one point to all of them, each twice the one before."""
        return self.points.bit_length()


def _power_of_two(number: int) -> bool:
    return number > 0 and not number & (number - 1)


@dataclass(frozen=True)
class SolvedPaths:
    """Solutions at the points of a problem, and what the paths did on every dyadic step of them.

    Attributes
    ----------
    times : Tensor, (points + 1,)
    states : Tensor, (points + 1, paths, *shape)
    levels : list of Tensor
        Whitened increments of steps of 2^level points, (points / 2^level, paths, *shape, size).
    """

    times: Tensor
    states: Tensor
    levels: list[Tensor]

    def path(self, level: int, basis: Basis) -> list[Increment]:
        """Return the increments of all steps of a level, with the first coefficients only.

        Parameters
        ----------
        basis : Basis
            Of no more coefficients than are known.
        """
        lengths = torch.diff(self.times[:: 2**level])
        return [
            Increment.from_whitened(basis, h, z)
            for h, z in zip(lengths, self.levels[level][..., : basis.size], strict=True)
        ]


def solve(
    problem: Problem, count: int, basis: Basis, generator: torch.Generator
) -> SolvedPaths:
    """Draw paths and solve the equation on each, in single precision.

    Parameters
    ----------
    problem : Problem
    count : int
        Paths.
    basis : Basis
        Features of the increments that are kept; the scheme is given two coefficients at least.
    generator : torch.Generator
    """
    seen = dataclasses.replace(basis, order=max(basis.order, 2))
    times = torch.tensor(problem.grid(problem.fine), dtype=torch.float64).float()
    inner = problem.fine // problem.points
    x = problem.start(count, generator)
    states, path = [x], []
    for part in times.unfold(0, inner + 1, inner):
        pieces = []
        for s, t in zip(part[:-1], part[1:], strict=True):
            z = torch.randn(*x.shape, seen.size, generator=generator)
            pieces.append(Increment.from_whitened(seen, t - s, z))
            x = problem.scheme(problem.sde, problem.nonlinear, s, t, x, pieces[-1])
        states.append(x)
        path += dyadic(pieces)[-1]
    levels = [torch.stack([one.whitened() for one in level]) for level in dyadic(path)]
    kept = [level[..., : basis.size] for level in levels]
    return SolvedPaths(times[::inner], torch.stack(states), kept)


class SolvedSteps:
    """Random steps of solved paths, which are drawn anew now and then.

    Parameters
    ----------
    problem : Problem
    basis : Basis
        Features of the increments.
    seed : int
    refresh : int
        Every so many draws the oldest set of paths is drawn anew,
    pools : int
        of so many.
    paths : int
        In a set.
    """

    def __init__(
        self, problem: Problem, basis: Basis, seed: int, refresh: int = 300, pools: int = 1,
        paths: int = 4096,
    ):  # fmt: skip
        self.problem, self.basis, self.refresh, self.paths = problem, basis, refresh, paths
        self.generator = torch.Generator().manual_seed(seed)
        self._pools: deque[SolvedPaths] = deque(maxlen=pools)
        self._drawn = 0

    def pool(self) -> SolvedPaths:
        """Return a set of paths to draw from."""
        if self._drawn % self.refresh == 0:
            with torch.no_grad():
                paths = solve(self.problem, self.paths, self.basis, self.generator)
            self._pools.append(paths)
        self._drawn += 1
        if self._pools.maxlen == 1:
            return self._pools[0]
        return self._pools[int(torch.randint(len(self._pools), (), generator=self.generator))]

    def draw(
        self, counts: Mapping[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Increment, Tensor, Tensor]:
        """Return s, t, X_s, the increment, X_t and the level of steps.

        Parameters
        ----------
        counts : mapping of int to int
            How many steps of each level, of 2^level points.
        """
        parts, pool = [], self.pool()
        for level, count in counts.items():
            z, span = pool.levels[level], 2**level
            path = torch.randint(self.paths, (count,), generator=self.generator)
            k = torch.randint(len(z), (count,), generator=self.generator)
            first, last = k * span, (k + 1) * span
            ends = pool.times[first], pool.times[last]
            states = pool.states[first, path], pool.states[last, path]
            parts.append((*ends, *states, z[k, path], torch.full((count,), level)))
        s, t, x, end, z, which = (torch.cat(part) for part in zip(*parts, strict=True))
        return s, t, x, Increment.from_whitened(self.basis, t - s, z), end, which
