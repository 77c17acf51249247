"""Multilevel Monte Carlo (Giles 2008): which levels to use and how many samples of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Level:
    """A term of the telescoping sum: the mean at `steps` less that at `coarser` on the same path.

    Attributes
    ----------
    coarser : int or None
        None for the first term, which is a plain mean.
    steps : int
        Network calls of the finer of the two.
    variance : float
        Of one sample of the term.
    """

    coarser: int | None
    steps: int
    variance: float

    @property
    def cost(self) -> int:
        """Network calls of one sample."""
        return self.steps + (self.coarser or 0)


def pilot_levels(values: dict[int, np.ndarray]) -> dict[tuple[int | None, int], Level]:
    """Return all terms that values at several numbers of steps on the same paths allow.

    A variance is never taken below what one deviating sample in twice as many would give: that no
    sample of a pilot changed its basin does not mean that none will.

    Parameters
    ----------
    values : dict of int to ndarray, (n,)
        By network calls, of the same n paths.
    """
    finest = values[max(values)]
    least = float(np.var(finest, ddof=1)) / (2 * len(finest))
    terms: dict[tuple[int | None, int], float] = {
        (None, k): float(np.var(own, ddof=1)) for k, own in values.items()
    }
    for a, b in combinations(sorted(values), 2):
        terms[a, b] = float(np.var(values[b] - values[a], ddof=1))
    return {(a, b): Level(a, b, max(value, least)) for (a, b), value in terms.items()}


def price(levels: Sequence[Level]) -> float:
    """Return variance times calls of the best allocation, (Σ sqrt(V C))²."""
    return sum((level.variance * level.cost) ** 0.5 for level in levels) ** 2


def best_levels(terms: dict[tuple[int | None, int], Level]) -> list[Level]:
    """Return the telescoping sum to the finest steps that has the lowest price.

    Sums of one term, plain sampling at the finest steps, are among them.
    """
    steps = sorted({b for _, b in terms})
    found = []
    for count in range(len(steps)):
        for coarse in combinations(steps[:-1], count):
            chain = [*coarse, steps[-1]]
            pairs = zip([None, *coarse], chain, strict=True)
            found.append([terms[pair] for pair in pairs])
    return min(found, key=price)


def allocate(levels: Sequence[Level], calls: float, block: int) -> list[int]:
    """Return how many samples of each level a number of network calls pays for.

    n ∝ sqrt(V/C) makes the variance Σ V/n least at given Σ n C (Giles 2008, eq. 1.3).

    Parameters
    ----------
    levels : sequence of Level
    calls : float
    block : int
        Samples are drawn by so many at once: numbers are multiples, of any level one at least.
    """
    scale = calls / sum((level.variance * level.cost) ** 0.5 for level in levels)
    best = (scale * (level.variance / level.cost) ** 0.5 for level in levels)
    return [block * max(1, int(number / block)) for number in best]
