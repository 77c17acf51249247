"""Weighted conformations: the few formulas that everything which takes weights shares.

Weights are arrays (n,) that sum to 1; None stands for equal weights. Files hold logarithms up to a
constant that is common to all frames.
"""

from __future__ import annotations

from typing import overload

import numpy as np

from molflow.errors import MolflowError

#: Weights that are worth fewer equally weighted conformations than this are refused.
LEAST_EFFECTIVE = 2.0


@overload
def normalised(log_weights: np.ndarray) -> np.ndarray: ...
@overload
def normalised(log_weights: np.ndarray | None) -> np.ndarray | None: ...
def normalised(log_weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights that sum to 1 from their logarithms (n,), minus infinity for none at all."""
    if log_weights is None:
        return None
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum()


def checked_log_weights(log_weights: np.ndarray, n: int, of: str) -> np.ndarray:
    """Return logarithms of weights as float64.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Minus infinity for a conformation of no weight.
    n : int
        How many there have to be.
    of : str
        What they are the weights of, for the sentence.

    Raises
    ------
    MolflowError
        If their number is another, one is not a number or infinite, or nearly all of the weight is
        in one conformation.
    """
    found = np.asarray(log_weights, np.float64)
    if found.shape != (n,):
        raise MolflowError(
            f"the weights of {of} have the shape {found.shape}, and it has {n} conformations: give "
            "one weight for each, in the order of the file."
        )
    bad = np.isnan(found) | (found == np.inf)
    if bad.any():
        raise MolflowError(
            f"{int(bad.sum())} weights of {of} are not finite, the first that of conformation "
            f"{int(bad.argmax())}: correct them, or leave those conformations out."
        )
    if not (found > -np.inf).any():
        raise MolflowError(f"all weights of {of} are zero: nothing can be judged by them.")
    worth = effective_size(n, normalised(found))
    if n > 1 and worth < LEAST_EFFECTIVE:
        most = int(found.argmax())
        raise MolflowError(
            f"nearly all the weight of {of} is in conformation {most}: together they are worth "
            f"{worth:.2f} equally weighted conformations, and {LEAST_EFFECTIVE:g} are the least. "
            "Weights spread like this carry no information: make them again from a law that is "
            "nearer to the target."
        )
    return found


@overload
def part_of(weights: np.ndarray, rows: np.ndarray | slice) -> np.ndarray: ...
@overload
def part_of(weights: np.ndarray | None, rows: np.ndarray | slice) -> np.ndarray | None: ...
def part_of(weights: np.ndarray | None, rows: np.ndarray | slice) -> np.ndarray | None:
    """Return the weights of some rows (indices or a mask), which sum to 1 again.

    Raises
    ------
    MolflowError
        If those rows have no weight.
    """
    if weights is None:
        return None
    kept = weights[rows]
    total = kept.sum()
    if not total > 0:
        raise MolflowError(
            f"{len(kept)} of {len(weights)} weighted conformations are needed by themselves, and "
            "their weights are all zero: nothing can be said of them."
        )
    return kept / total


def effective_size(n: int, weights: np.ndarray | None) -> float:
    """Return 1 / sum w², how many equally weighted conformations n are worth (Kish 1965)."""
    return float(n) if weights is None else float(1.0 / np.sum(weights**2))


def mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the mean over the first axis of values (n, ...)."""
    return values.mean(axis=0) if weights is None else np.tensordot(weights, values, (0, 0))


def sd(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the standard deviation over the first axis of values (n, ...)."""
    if weights is None:
        return values.std(axis=0)
    return np.sqrt(mean((values - mean(values, weights)) ** 2, weights))


def quantile(values: np.ndarray, level, weights: np.ndarray | None) -> np.ndarray:
    """Return quantiles of values (n,).

    Interpolated linearly between equally weighted values; of weighted ones the smallest value up to
    which the weights reach the level.
    """
    if weights is None:
        return np.quantile(values, level)
    order = np.argsort(values, kind="stable")
    reach = np.cumsum(weights[order])
    # A level that rounding leaves a hair above the sum up to a value is reached by it.
    place = np.searchsorted(reach, np.asarray(level) - 1e-12)
    return values[order][np.minimum(place, len(values) - 1)]


def share(marks: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the share of marked conformations, (n,) bool."""
    return float(np.mean(marks)) if weights is None else float(weights[marks].sum())


def systematic(weights: np.ndarray, size: int, offset: float) -> np.ndarray:
    """Draw rows so that each occurs size * weight times to within one, sorted; (size,) int.

    Systematic resampling (Kitagawa 1996): the points (k + offset) / size on the staircase of summed
    weights. Unbiased if the offset is uniform on [0, 1).
    """
    reach = np.cumsum(weights)
    points = (np.arange(size) + offset) / size * reach[-1]
    return np.searchsorted(reach, points, side="right").clip(max=len(weights) - 1)
