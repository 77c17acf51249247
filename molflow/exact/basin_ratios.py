"""Shares of basins from weights of a map's samples and of dynamics inside each basin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.observables import BASIN_NAMES
from molflow.analysis.weighting import effective_size, normalised
from molflow.errors import MolflowError
from molflow.exact.bennett import Ratio, bennett, one_sided
from molflow.exact.own_shares import bias_of

#: Bootstrap samples of everything.
_REPEATS = 200
#: Forward samples of a basin below which its share is not known.
_FEWEST = 5
#: Overlap below which the two sides hardly meet.
_LEAST_OVERLAP = 0.03
#: Standard deviations by which what the sides say alone may differ.
_FAR = 4.0


@dataclass(frozen=True)
class Forward:
    """Weighted samples of a map.

    Attributes
    ----------
    positions : ndarray, (n, n_atoms, 3)
    energies : ndarray, (n,)
    log_weights : ndarray, (n,)
        ln of the ratio of densities, target to proposal, up to one constant for all.
    log_factors : ndarray, (n,)
        ln of how many draws each stands for.
    basins : ndarray, (n,) int
    """

    positions: np.ndarray
    energies: np.ndarray
    log_weights: np.ndarray
    log_factors: np.ndarray
    basins: np.ndarray


@dataclass(frozen=True)
class Side:
    """Frames of dynamics inside a basin, weighed backwards.

    Attributes
    ----------
    positions : ndarray, (m, n_atoms, 3)
    energies : ndarray, (m,)
    log_weights : ndarray, (m,)
        As those of `Forward`; infinite where the proposal never goes.
    undone : ndarray, (m,)
        Segments of dynamics that left the basin.
    seconds : ndarray, (m,)
        Of the processor.
    """

    positions: np.ndarray
    energies: np.ndarray
    log_weights: np.ndarray
    undone: np.ndarray
    seconds: np.ndarray


def basin_shares(forward: Forward, sides: dict[int, Side], seed: int) -> tuple[dict, np.ndarray]:
    r"""Return shares of basins with intervals, and log weights of all samples and frames.

    With P_b the proposal's share of basin b, measured by counting draws, and Δ_b = ln(Z_b/P_b) by
    Bennett's ratio inside it, the basin's integral is Z_b = P_b exp(Δ_b), and its share Z_b/ΣZ.
    Intervals are by bootstrap: draws by strata and with the number of each stratum, frames by
    walker.

    Parameters
    ----------
    forward : Forward
    sides : dict of int to Side
        By place in `BASIN_NAMES`; basins without frames are left out of the shares.
    seed : int

    Returns
    -------
    record : dict
    log_weights : ndarray, (n + Σ m,)
        In the order of `sides`; minus infinity for what belongs to no known basin.
    """
    every = np.arange(len(forward.basins))
    usable = {
        b: side for b, side in sides.items() if _meet(forward, every, b, _FEWEST, side.log_weights)
    }
    if len(usable) < 2:
        raise MolflowError(
            f"{len(usable)} basins have enough weighted samples and frames of dynamics, and shares "
            "are of two at least: draw more samples."
        )
    point, ratios = _integrals(forward, usable, every, forward.log_factors, None)
    rng = np.random.default_rng(seed)
    tries = []
    for _ in range(_REPEATS):
        rows, factors = _again(forward.log_factors, rng)
        frames = {
            b: rng.integers(0, len(side.log_weights), len(side.log_weights))
            for b, side in usable.items()
        }
        drawn = {b: side.log_weights[frames[b]] for b, side in usable.items()}
        if all(_meet(forward, rows, b, 2, theirs) for b, theirs in drawn.items()):
            tries.append(_integrals(forward, usable, rows, factors, frames)[0])
    shares, drawn_shares = _both_shares(point)
    spread, drawn_spread = map(np.array, zip(*map(_both_shares, tries), strict=True))
    record: dict = {"basins": {}, "doubts": [], "corrected": []}
    log_weights = np.full(len(every) + sum(len(s.log_weights) for s in sides.values()), -np.inf)
    for b, name in enumerate(BASIN_NAMES):
        own = forward.basins == b
        weighted = (forward.log_weights + forward.log_factors)[own]
        seen = np.isfinite(weighted).any()
        row: dict = {
            "samples": int(own.sum()),
            "effective": effective_size(len(weighted), normalised(weighted)) if seen else 0.0,
            "frames": len(sides[b].log_weights) if b in sides else 0,
            "share": None,
        }
        if b in sides:
            row["never_reached"] = int(np.isposinf(sides[b].log_weights).sum())
            row["undone"] = float(sides[b].undone.mean())
        if b in usable:
            k = list(usable).index(b)
            gaps = [one[b]["forward"] - one[b]["backward"] for one in tries]
            energies = -_logit(spread[:, k])
            biases = _logit(spread[:, k]) - _logit(drawn_spread[:, k])
            row |= point[b] | {
                "share": float(shares[k]),
                "share_error": float(spread[:, k].std()),
                "free_energy": float(-_logit(shares[k])),
                "free_energy_error": float(energies.std()),
                "free_energy_interval": [float(q) for q in np.quantile(energies, [0.025, 0.975])],
                "gap": point[b]["forward"] - point[b]["backward"],
                "gap_error": float(np.std(gaps)),
                "bias": float(_logit(shares[k]) - _logit(drawn_shares[k])),
                "bias_error": float(biases.std()),
            }
            if sentence := bias_of(
                name, drawn_shares[k], shares[k], row["bias"], row["bias_error"]
            ):
                record["corrected"].append(sentence)
        record["basins"][name] = row
        record["doubts"] += _doubts(BASIN_NAMES[name], row)
    place = len(every)
    for b, side in sides.items():
        if b in usable:
            log_share = np.log(shares[list(usable).index(b)])
            with np.errstate(divide="ignore"):
                log_weights[every[forward.basins == b]] = np.log(ratios[b].forward) + log_share
                log_weights[place : place + len(side.log_weights)] = (
                    np.log(ratios[b].backward) + log_share
                )
        place += len(side.log_weights)
    return record, log_weights


def _meet(forward: Forward, rows: np.ndarray, b: int, fewest: int, theirs: np.ndarray) -> bool:
    """Return whether a basin has so many samples of any weight, and a frame that the map reaches.

    Without either there is no ratio of the two.
    """
    ours = forward.log_weights[rows][forward.basins[rows] == b]
    return bool(np.isfinite(ours).sum() >= fewest and np.isfinite(theirs).any())


def _integrals(forward: Forward, sides, rows, log_factors, frames) -> tuple[dict, dict[int, Ratio]]:
    """Return ln Z of each basin with its parts, and the ratios."""
    point, ratios = {}, {}
    factors = np.exp(log_factors)
    for b, side in sides.items():
        own = forward.basins[rows] == b
        ours = forward.log_weights[rows][own]
        theirs = side.log_weights if frames is None else side.log_weights[frames[b]]
        shares = factors[own] / factors[own].sum()
        ratios[b] = bennett(ours, theirs, shares)
        alone = one_sided(ours, theirs, shares)
        drawn = float(factors[own].sum() / factors.sum())
        point[b] = {
            "drawn": drawn,
            "log_integral": float(np.log(drawn)) + ratios[b].value,
            "log_ratio": ratios[b].value,
            "forward": alone[0],
            "backward": alone[1],
            "overlap": ratios[b].overlap,
        }
    return point, ratios


def _again(log_factors: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and log factors of another draw: numbers of strata, and samples inside each."""
    strata, which = np.unique(np.round(log_factors, 9), return_inverse=True)
    sizes = np.bincount(which)
    draws = sizes * np.exp(strata)
    numbers = rng.multinomial(round(draws.sum()), draws / draws.sum())
    rows, factors = [], []
    for k, size in enumerate(sizes):
        rows.append(rng.choice(np.flatnonzero(which == k), size))
        factors.append(np.full(size, np.log(max(numbers[k], 1) / size)))
    return np.concatenate(rows), np.concatenate(factors)


def _both_shares(point: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return shares of the basins of `_integrals`: the law's, and among the map's draws."""
    return normalised(np.array([row["log_integral"] for row in point.values()])), normalised(
        np.log([row["drawn"] for row in point.values()])
    )


def _logit(shares):
    with np.errstate(divide="ignore"):
        return np.log(shares) - np.log1p(-shares)


def _doubts(label: str, row: dict) -> list[str]:
    if row["share"] is None:
        if not row["frames"]:
            return [
                f"{label} has {row['samples']} samples and no frames of dynamics: its share is not "
                "known, and the others' are those without it. Give conformations of it as starts."
            ]
        return [
            f"dynamics stays in {label}, where the map has {row['samples']} samples: a part of the "
            "molecule's conformations is missing from it, and no weight can tell how large."
        ]
    found = []
    if row["never_reached"]:
        found.append(
            f"{row['never_reached']} of {row['frames']} frames of dynamics in {label} are where "
            "the map never goes."
        )
    if row["overlap"] < _LEAST_OVERLAP:
        found.append(
            f"samples and dynamics hardly meet in {label} (overlap {row['overlap']:.3f}): its "
            "share hangs on few of them."
        )
    if abs(row["gap"]) > _FAR * max(row["gap_error"], 1e-9):
        found.append(
            f"in {label} the map's weights alone and those of dynamics differ by "
            f"{-row['gap']:.2f} ± {row['gap_error']:.2f} kT: the map misses a part of it, and its "
            "effective size does not show that. Both together are the better estimate."
        )
    return found
