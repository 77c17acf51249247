"""Slow times of one dynamics beside those of another: processes, passages, memory."""

from __future__ import annotations

import numpy as np

from molflow.analysis.kinetics.autocorrelation import compare_memory
from molflow.analysis.kinetics.markov import count_matrices, estimate, implied_timescales
from molflow.analysis.kinetics.passage import passage_times
from molflow.analysis.kinetics.slow_modes import SlowModes
from molflow.analysis.kinetics.time_series import TorsionSeries

#: Lags at which time scales are compared, and the time over which the memory of torsions is, in
#: units of the lag of the slow modes.
MULTIPLES, MEMORY = (0.5, 1, 2), 4.0
#: Largest error of a time, unless it is within the interval of molecular dynamics.
TIMES = 0.25


def compare_times(
    series: TorsionSeries, reference: TorsionSeries, modes: SlowModes, names: list[str], seed: int
) -> dict:
    """Return slow time scales by lag, passages and memory of torsions of both, and their ratios.

    Chains of a map and runs of molecular dynamics need not have been to the same places: the ratio
    of the slowest time is that among the states which both have gone to and fro between.

    Parameters
    ----------
    series, reference : TorsionSeries
        Of the same torsions, such as those of a map of dynamics and of molecular dynamics.
    modes : SlowModes
        Fitted to the reference.
    names : list of str
        Of the torsions.
    seed : int
        Of the bootstraps.

    Returns
    -------
    dict
        ``map`` and ``md``, each with ``timescales``, ``among_shared_states`` and ``passages``;
        ``shared_states`` of ``states``; ``timescale`` and ``passages`` as `ratio` says them; and
        ``memory`` by torsion, see `molflow.analysis.kinetics.autocorrelation.compare_memory`.
    """
    both = {"map": series, "md": reference}
    labels = {name: [modes.label(run) for run in one.runs] for name, one in both.items()}
    states = len(modes.centres)
    shared = np.ones(states, bool)
    for name, one in both.items():
        shared &= connected(labels[name], one.lag(modes.lag_ps), states)
    sides = {}
    for name, one in both.items():
        lags = [one.lag(modes.lag_ps * k) for k in MULTIPLES]
        among = within(labels[name], shared, max(lags))
        sides[name] = {
            "timescales": implied_timescales(labels[name], lags, one.interval, states, 2, seed),
            "among_shared_states": implied_timescales(among, lags, one.interval, states, 1, seed),
            "passages": passage_times(one, seed=seed),
        }
    rows = [_at_lag(side["among_shared_states"], modes.lag_ps) for side in sides.values()]
    passages = [{f"{row['start']} to {row['end']}": row for row in side["passages"]}
                for side in sides.values()]  # fmt: skip
    return sides | {
        "shared_states": int(shared.sum()),
        "states": states,
        "timescale": ratio(*rows),
        "passages": {name: ratio(row, passages[1][name]) for name, row in passages[0].items()},
        "memory": {
            name: _memory(series, reference, column, modes.lag_ps, seed)
            for column, name in enumerate(names)
        },
    }


def connected(labels: list[np.ndarray], lag: int, states: int) -> np.ndarray:
    """Return which states are in the largest set that runs go to and fro between, (states,)."""
    counts = count_matrices(labels, lag, states).sum(axis=0)
    found = np.zeros(states, bool)
    found[estimate(counts, lag).state_symbols()] = True
    return found


def within(labels: list[np.ndarray], kept: np.ndarray, shortest: int) -> list[np.ndarray]:
    """Return the pieces of runs that stay in some states, those longer than `shortest` frames."""
    found = []
    for run in labels:
        ends = np.flatnonzero(np.diff(kept[run])) + 1
        found += [part for part in np.split(run, ends) if kept[part[0]] and len(part) > shortest]
    return found


def _at_lag(rows: list[dict], lag: float) -> dict:
    """Return the row of the slowest process at a lag (ps)."""
    return next(
        row for row in rows if abs(row["lag_ps"] - lag) < 1e-6 * lag and row["process"] == 0
    )


def _memory(series, reference, column: int, lag: float, seed: int) -> dict:
    row = compare_memory(series, reference, column, MEMORY * lag, seed)
    curves = {key: row[key].tolist() for key in ("times", "model", "reference")}
    difference = float(np.abs(row["model"] - row["reference"]).max())
    kept = ("time_model_ps", "time_reference_ps", "ratio", "ratio_interval", "agree")
    return {key: row[key] for key in kept} | {"largest_difference": difference, **curves}


def ratio(own: dict, known: dict) -> dict:
    """Return the ratio of two times, and whether it is near enough to 1; None if undecided.

    Rows have ``value_ps``, ``interval_ps`` and ``verdict``. Times agree if they differ by a quarter
    at most, or if the one lies in the interval of the other.
    """
    if known["verdict"] != "resolved" or own["value_ps"] is None:
        return {"value": None, "agrees": None}
    value = own["value_ps"] / known["value_ps"]
    low, high = known["interval_ps"]
    return {
        "value": value,
        "agrees": bool(abs(value - 1.0) <= TIMES or low <= own["value_ps"] <= high),
    }
