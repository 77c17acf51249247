"""Is one jump the same as two jumps on the same path?"""

from __future__ import annotations

import numpy as np

from molflow.checking.finding import (
    FAIL,
    FEWEST,
    INCONCLUSIVE,
    PASS,
    Finding,
    bootstrap_interval,
    judge,
)
from molflow.checking.subject import Subject
from molflow.solvers.loop import integrate

#: Largest residual allowed, in units of that of an integrator's step of the same length.
LIMIT = 0.5
_SHARE = 32


def semigroup(subject: Subject) -> Finding:
    """Compare every jump with two half jumps on the same path.

    The residual is the root mean square distance between the two answers. It is measured in
    units of the residual of the map's own equation walked by an exponential Euler step, which
    knows the drift at the start of the jump only: at 1 the map has learned nothing about long
    jumps, at 0 it is the solution map of some equation. The number is that of the worst jump.
    """
    residuals, own, plain = _residuals(subject)
    count = residuals.shape[1]

    def worst(members: np.ndarray) -> float:
        return float(np.max(_rms(own[:, members]) / _rms(plain[:, members])))

    every = np.arange(count)
    value = worst(every)
    if not np.isfinite(value):
        interval, verdict = None, FAIL
    elif count < FEWEST:
        interval, verdict = None, INCONCLUSIVE
    else:
        interval = tuple(bootstrap_interval(worst, count, subject.seed_of("bootstrap")).tolist())
        verdict = judge(interval, LIMIT)
    by_jump = _rms(own) / _rms(plain)
    sentence = {
        PASS: f"One jump and two on the same path agree {1 / value:.1f} times better than steps "
        "of an integrator do.",
        FAIL: f"One jump and two on the same path differ by {value:.2f} of what they do for an "
        "integrator: the map is not consistent with itself at this number of steps.",
        INCONCLUSIVE: f"{count} paths are too few to tell whether one jump equals two: "
        "give more samples.",
    }[verdict]
    return Finding(
        "semigroup", "Semigroup consistency", verdict, sentence, value, LIMIT, interval,
        "of an integrator's",
        {
            "ratio_by_jump": by_jump.tolist(),
            "residual_nm_by_jump": residuals.mean(axis=1).tolist(),
            "paths": count,
        },
    )  # fmt: skip


def _rms(squares: np.ndarray) -> np.ndarray:
    return np.sqrt(squares.mean(axis=1))


def _residuals(subject: Subject) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances (nm) and squared distances of map and integrator, (jumps, samples)."""
    clock = subject.flow_map.clock
    x, path = subject.start(subject.part(_SHARE), "semigroup")
    times = clock.grid(subject.steps)
    map_squares: list[np.ndarray] = []
    plain_squares: list[np.ndarray] = []
    for s, t in zip(times[:-1], times[1:], strict=True):
        middle = float(clock.time(0.5 * (clock.position(s) + clock.position(t))))
        ends = []
        for step, squares in (
            (subject.step, map_squares), (subject.integrator_step, plain_squares)
        ):  # fmt: skip
            one = integrate(step, x, path, [s, t])
            two = integrate(step, x, path, [s, middle, t])
            squares.append((one - two).square().sum(-1).mean(-1).double().cpu().numpy())
            ends.append(one)
        x = ends[0]
    own, plain = np.array(map_squares), np.array(plain_squares)
    return subject.checkpoint.scale * np.sqrt(own), own, plain
