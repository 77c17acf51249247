"""What was found about one property, and how a number with an interval is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
from scipy.stats import binomtest

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
#: Fewer members than this say nothing about a mean.
FEWEST = 16
_DRAWS = 400


@dataclass(frozen=True)
class Finding:
    """One property of a map.

    Attributes
    ----------
    name, title : str
        For machines and for people.
    verdict : str
        ``pass``, ``fail`` or ``inconclusive``.
    sentence : str
        What the verdict rests on, in words.
    value, limit : float or None
        The number, and the largest that passes.
    interval : (float, float) or None
        95 % interval of `value`.
    unit : str
    details : dict
        JSON-safe numbers beside the one that decides.
    """

    name: str
    title: str
    verdict: str
    sentence: str
    value: float | None = None
    limit: float | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    details: dict = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Return a JSON-safe dictionary: numbers that are not finite become None."""
        return _json_safe(asdict(self))


def _json_safe(value):
    if isinstance(value, dict):
        return {str(key): _json_safe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def judge(interval: tuple[float, float], limit: float) -> str:
    """Return pass if the whole interval is within the limit, fail if none of it is."""
    low, high = interval
    if high <= limit:
        return PASS
    return FAIL if low > limit else INCONCLUSIVE


def worst(verdicts: list[str]) -> str:
    """Return fail if there is one, otherwise inconclusive if there is one, otherwise pass."""
    return next((v for v in (FAIL, INCONCLUSIVE) if v in verdicts), PASS)


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Return the exact (Clopper–Pearson) 95 % interval of a share, from `count` of `n`."""
    found = binomtest(count, n).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float | np.ndarray], n: int, seed: int
) -> np.ndarray:
    """Return the 95 % percentile interval of a statistic of n independent members.

    Parameters
    ----------
    statistic : callable
        Of the indices (n,) of the members that were drawn.
    n : int
    seed : int

    Returns
    -------
    ndarray, (2,) or (2, k)
        Lower and upper ends.
    """
    rng = np.random.default_rng(seed)
    draws = [np.asarray(statistic(rng.integers(n, size=n))) for _ in range(_DRAWS)]
    return np.quantile(draws, [0.025, 0.975], axis=0)
