"""Markov state models from labelled runs: implied time scales and the Chapman-Kolmogorov test.

Estimation is deeptime's (reversible maximum likelihood on sliding-window counts); here are the
intervals, by a bootstrap over pieces of the runs, and the rule that says when nothing is known.
"""

from __future__ import annotations

import warnings

import numpy as np

from molflow.analysis.kinetics.interruption import heard_afterwards
from molflow.analysis.kinetics.time_series import draw_weights, pieces
from molflow.errors import MolflowError

with heard_afterwards():
    from deeptime.markov import TransitionCountEstimator, TransitionCountModel
    from deeptime.markov.msm import MarkovStateModelCollection, MaximumLikelihoodMSM

#: Crossings of a slow process below which its time is not known.
FEWEST_CROSSINGS = 10
#: Pieces below which a bootstrap over them says nothing.
FEWEST_PIECES = 8
#: Largest error of a probability in the Chapman-Kolmogorov test.
CK_LIMIT = 0.05
_DRAWS = 60


def count_matrices(members: list[np.ndarray], lag: int, states: int) -> np.ndarray:
    """Return sliding-window transition counts of every piece, (pieces, states, states)."""
    found = np.zeros((len(members), states, states))
    for matrix, labels in zip(found, members, strict=True):
        if len(labels) > lag:
            counted = TransitionCountEstimator(lag, "sliding", n_states=states, sparse=False)
            matrix[:] = counted.fit_fetch(labels).count_matrix
    return found


def estimate(counts: np.ndarray, lag: int) -> MarkovStateModelCollection:
    """Return the reversible maximum-likelihood model of the largest connected set of states.

    Raises
    ------
    MolflowError
        If no states are connected to and fro.
    """
    model = _connected(counts, lag)
    if model is None:
        raise MolflowError(
            f"in so few frames no state is left and come back to at a lag of {lag} frames: "
            "simulate longer, or choose a shorter lag or fewer states."
        )
    return model


def _connected(counts: np.ndarray, lag: int) -> MarkovStateModelCollection | None:
    """Return the model of `estimate`, None where no states are connected, as a draw may have it."""
    model = TransitionCountModel(counts, lagtime=lag).submodel_largest()
    if not model.count_matrix.any():
        return None
    return MaximumLikelihoodMSM(reversible=True).fit_fetch(model)


def _timescales(counts: np.ndarray, lag: int, processes: int) -> np.ndarray:
    """Return -lag / ln|eigenvalue| in frames, (processes,), NaN where there is none."""
    found = np.full(processes, np.nan)
    model = _connected(counts, lag)
    if model is not None and model.n_states > 1:
        values = np.asarray(model.timescales(min(processes, model.n_states - 1)))
        found[: len(values)] = values
    return found


def crossings(runs: list[np.ndarray], model: MarkovStateModelCollection, process: int) -> int:
    """Count how often runs go from one end of a slow process to the other.

    The ends are the states beyond the mean of the eigenvector on its negative and on its positive
    side, so that going to and fro about the middle does not count.
    """
    vector = np.asarray(model.eigenvectors_right(process + 2))[:, process + 1].real
    weight = model.stationary_distribution
    ends = np.zeros(model.n_states, int)
    for sign in (-1, 1):
        side = sign * vector > 0
        mean = np.average(vector[side], weights=weight[side])
        ends[sign * vector >= sign * mean] = sign
    total = 0
    place = np.zeros(int(max(model.state_symbols().max(), *(r.max() for r in runs))) + 1, int)
    place[model.state_symbols()] = ends
    for labels in runs:
        reached = place[labels]
        reached = reached[reached != 0]
        total += int(np.count_nonzero(np.diff(reached)))
    return total


def implied_timescales(
    runs: list[np.ndarray], lags: list[int], interval: float, states: int, processes: int = 3,
    seed: int = 0,
) -> list[dict]:  # fmt: skip
    """Return the implied time scales t = -lag / ln|lambda| at several lags.

    Parameters
    ----------
    runs : list of ndarray, each (frames,) int
        State labels in the order of time.
    lags : list of int
        Frames.
    interval : float
        Time between frames, ps.
    states : int
        Labels are 0 .. states - 1.
    processes : int
        Slowest ones to return.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of dict
        For each lag and process (0 is the slowest): ``lag_ps``, ``process``, ``value_ps`` (None
        if there is none), ``interval_ps`` (95 %, over pieces of the runs; None if inconclusive),
        ``crossings``, ``verdict`` (resolved or inconclusive) and ``reason``.
    """
    members = pieces(runs, max(lags))
    rows = []
    for lag in lags:
        whole = count_matrices(runs, lag, states).sum(axis=0)
        parts = count_matrices(members, lag, states)
        values = _timescales(whole, lag, processes) * interval
        ends = None
        if len(members) >= FEWEST_PIECES:
            weights = draw_weights(len(members), _DRAWS, seed)
            draws = [_timescales(np.tensordot(w, parts, 1), lag, processes) for w in weights]
            ends = interval * _quantiles(draws)
        model = _connected(whole, lag)
        for process, value in enumerate(values):
            known = np.isfinite(value)
            seen = crossings(runs, model, process) if known and model is not None else 0
            reason = _why_unknown(value, lag * interval, seen, ends is not None)
            rows.append({
                "lag_ps": lag * interval, "process": process,
                "value_ps": float(value) if known else None,
                "interval_ps": None if reason or ends is None else ends[:, process].tolist(),
                "crossings": seen, "verdict": "inconclusive" if reason else "resolved",
                "reason": reason,
            })  # fmt: skip
    return rows


def _quantiles(draws: list[np.ndarray]) -> np.ndarray:
    """Return the 2.5 % and 97.5 % quantiles of what is known, (2, k); NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        return np.nanquantile(draws, [0.025, 0.975], axis=0)


def _why_unknown(value: float, lag: float, seen: int, enough_pieces: bool) -> str:
    if not np.isfinite(value):
        return "the states that are connected have no such process."
    if seen < FEWEST_CROSSINGS:
        return f"it was crossed {seen} times, at least {FEWEST_CROSSINGS} are needed."
    if value < lag:
        return f"it is faster than the lag time of {lag:g} ps."
    if not enough_pieces:
        return "the runs are too short to be cut into pieces for an interval."
    return ""


def chapman_kolmogorov(
    runs: list[np.ndarray], lag: int, multiples: list[int], states: int, sets: int = 2,
    seed: int = 0,
) -> dict:  # fmt: skip
    """Compare k steps of a model at a lag with the model at k times the lag.

    The states are grouped into metastable sets by PCCA+; what is compared is the probability to
    be in the set again in which one started, from its stationary distribution.

    Returns
    -------
    dict
        ``rows``: for each multiple and set ``predicted``, ``estimated`` and the 95 % ``interval``
        of their difference; ``verdict`` (pass, fail or inconclusive) by the largest difference
        against `CK_LIMIT`, and ``largest``; ``assignment`` (states,), -1 where not connected.
    """
    members = pieces(runs, lag * max(multiples))
    parts = {k: count_matrices(members, k * lag, states) for k in (1, *multiples)}
    whole = {k: count_matrices(runs, k * lag, states).sum(axis=0) for k in (1, *multiples)}
    first = estimate(whole[1], lag)
    assignment = np.full(states, -1)
    if first.n_states == sets:
        assignment[first.state_symbols()] = np.arange(sets)
    elif first.n_states > sets:
        assignment[first.state_symbols()] = first.pcca(sets).assignments
    weights = draw_weights(len(members), _DRAWS, seed)
    rows, levels, apart = [], [], []
    for k in multiples:
        both = _returns(whole[1], whole[k], lag, k, assignment, sets)
        draws = [
            np.subtract(*_returns(
                np.tensordot(w, parts[1], 1), np.tensordot(w, parts[k], 1), lag, k, assignment, sets
            ))
            for w in weights
        ]  # fmt: skip
        low, high = _quantiles(draws)
        for member in range(sets):
            rows.append({
                "multiple": k, "set": member, "predicted": float(both[0][member]),
                "estimated": float(both[1][member]),
                "interval": [float(low[member]), float(high[member])],
            })  # fmt: skip
            apart.append(abs(float(both[0][member]) - float(both[1][member])))
            ends = abs(low[member]), abs(high[member])
            within, beyond = max(ends) <= CK_LIMIT, low[member] > CK_LIMIT
            beyond |= high[member] < -CK_LIMIT
            levels.append("pass" if within else "fail" if beyond else "inconclusive")
    if first.n_states < sets or len(members) < FEWEST_PIECES:
        verdict = "inconclusive"
    else:
        verdict = next((v for v in ("fail", "inconclusive") if v in levels), "pass")
    return {
        "rows": rows, "verdict": verdict, "assignment": assignment,
        "largest": float(np.max(apart)),
    }  # fmt: skip


def _returns(first, later, lag: int, k: int, assignment: np.ndarray, sets: int) -> np.ndarray:
    """Return the probabilities to be back, (2, sets): predicted, estimated; NaN if unknown."""
    found = np.full((2, sets), np.nan)
    for row, (counts, power) in enumerate(((first, k), (later, 1))):
        model = _connected(counts, lag)
        if model is None:
            continue
        matrix = np.linalg.matrix_power(np.asarray(model.transition_matrix), power)
        groups = assignment[model.state_symbols()]
        for member in range(sets):
            inside = groups == member
            if inside.any():
                start = model.stationary_distribution[inside]
                found[row, member] = start / start.sum() @ matrix[np.ix_(inside, inside)].sum(1)
    return found
