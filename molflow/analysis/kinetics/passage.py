"""Mean first-passage times between named basins of (phi, psi), counted in the runs."""

from __future__ import annotations

import numpy as np

from molflow.analysis.kinetics.markov import FEWEST_PIECES
from molflow.analysis.kinetics.time_series import TorsionSeries, draw_weights, pieces

#: Cores of the basins, degrees: ranges of phi and psi, (from, to) upwards and round the circle.
#: Narrower than the basins, so that a frame at the edge does not count as a passage.
CORES = {
    "beta": ((-180.0, -40.0), (100.0, -160.0)),
    "alpha_r": ((-150.0, -40.0), (-75.0, 10.0)),
    "alpha_l": ((30.0, 90.0), (-30.0, 80.0)),
}
#: Passages below which their mean time is not known.
FEWEST_PASSAGES = 10
_DRAWS = 400


def core_labels(torsions: np.ndarray, cores: dict = CORES) -> np.ndarray:
    """Return the index of the core that each (phi, psi) of (n, 2) in rad is in, -1 for none."""
    labels = np.full(len(torsions), -1)
    degrees = np.degrees(torsions)
    for index, ranges in enumerate(cores.values()):
        inside = np.ones(len(torsions), bool)
        for column, (low, high) in zip(degrees.T, ranges, strict=True):
            inside &= (column - low) % 360.0 <= (high - low) % 360.0
        labels[inside] = index
    return labels


def exposure(labels: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """Return frames on the way from one core to another, and how often the other was reached.

    The way begins with the first frame in `start` since the run began or `end` was left, and
    ends with the first frame in `end`; a way that the run cuts off counts with its length.
    """
    there = np.flatnonzero(labels == end)
    there = there[np.diff(there, prepend=-2) > 1]  # the first frame of every stay
    frames = reached = 0
    begin = 0
    for stop in (*there, len(labels)):
        begun = np.flatnonzero(labels[begin:stop] == start)
        if len(begun):
            # Without an end the last frame has no time after it that was watched.
            frames += stop - begin - begun[0] - (stop == len(labels))
            reached += stop < len(labels)
        begin = stop + 1
    return int(frames), int(reached)


def passage_times(series: TorsionSeries, cores: dict = CORES, seed: int = 0) -> list[dict]:
    """Return mean first-passage times between every two cores, by counting.

    The time is that spent on the way over the number of arrivals, which is the maximum-likelihood
    estimate for ways whose duration is exponential, and right for any that are not cut off. It
    runs from the first entry into a core, not from a random frame in it. The passage times of a
    Markov model at a lag L would be longer, by about L/2, for it misses what comes back sooner.

    Parameters
    ----------
    series : TorsionSeries
        Of phi and psi.
    cores : dict
        Names to ranges, as `CORES`.
    seed : int
        Of the bootstrap over pieces of the runs.

    Returns
    -------
    list of dict
        ``start``, ``end``, ``value_ps`` (None without arrivals), ``interval_ps`` (95 %, None if
        inconclusive), ``passages``, ``at_least_ps`` (95 % bound where none arrived, else None),
        ``verdict`` (resolved or inconclusive) and a ``sentence``.
    """
    runs = [core_labels(run, cores) for run in series.runs]
    names = list(cores)
    visited = {name: any((run == k).any() for run in runs) for k, name in enumerate(names)}
    rows = []
    for start, first in enumerate(names):
        for end, second in enumerate(names):
            if start != end:
                frames, reached = np.sum([exposure(run, start, end) for run in runs], axis=0)
                row = _row(series, runs, (start, end), int(frames), int(reached), seed)
                absent = [name for name in (first, second) if not visited[name]]
                rows.append({"start": first, "end": second, **row})
                rows[-1]["sentence"] = _sentence(rows[-1], absent, series.length)
    return rows


def _row(series, runs, pair: tuple[int, int], frames: int, reached: int, seed: int) -> dict:
    value = frames * series.interval / reached if reached else None
    ends = None
    if reached >= FEWEST_PASSAGES:
        # Pieces ten times the time itself, so that cutting does not shorten it.
        members = pieces(runs, max(1, round(value / series.interval)))
        if len(members) >= FEWEST_PIECES:
            parts = np.array([exposure(member, *pair) for member in members])
            sums = draw_weights(len(members), _DRAWS, seed) @ parts
            ratio = sums[:, 0] * series.interval / np.maximum(sums[:, 1], 1)
            ends = np.quantile(ratio, [0.025, 0.975]).tolist()
    bound = frames * series.interval / -np.log(0.05) if frames and not reached else None
    return {
        "value_ps": value, "interval_ps": ends, "passages": reached, "at_least_ps": bound,
        "verdict": "resolved" if ends else "inconclusive",
    }  # fmt: skip


def _sentence(row: dict, absent: list[str], length: float) -> str:
    way = f"from {row['start']} to {row['end']}"
    if absent:
        return f"Inconclusive {way}: {' and '.join(absent)} never visited in {length:g} ps" + (
            f", so the passage takes more than {row['at_least_ps']:.3g} ps (95 %)."
            if row["at_least_ps"]
            else "."
        )
    if row["verdict"] == "resolved":
        low, high = row["interval_ps"]
        return (
            f"The mean passage {way} takes {row['value_ps']:.3g} ps (95 % interval {low:.3g} to "
            f"{high:.3g}, {row['passages']} passages)."
        )
    return (
        f"Inconclusive {way}: {row['passages']} passages in {length:g} ps, at least "
        f"{FEWEST_PASSAGES} are needed in runs ten times longer than the passage."
    )
