"""Processes whose kinetics are known."""

import numpy as np

from molflow.analysis.kinetics.markov import estimate

#: A birth-and-death chain, reversible by its shape.
CHAIN = np.array([[0.98, 0.02, 0.0], [0.01, 0.97, 0.02], [0.0, 0.04, 0.96]])


def stationary(matrix):
    values, vectors = np.linalg.eig(matrix.T)
    vector = vectors[:, np.argmax(values.real)].real
    return vector / vector.sum()


def exact_model(matrix):
    """A model estimated from the counts that a reversible chain has on average."""
    return estimate(1e6 * stationary(matrix)[:, None] * matrix, lag=1)


def walk_chain(matrix, frames, runs, seed=0):
    """Runs of a Markov chain from its stationary distribution."""
    rng = np.random.default_rng(seed)
    state = rng.choice(len(matrix), size=runs, p=stationary(matrix))
    cumulative = matrix.cumsum(axis=1)
    walked = np.empty((frames, runs), int)
    for k in range(frames):
        walked[k] = state
        state = (rng.random(runs)[:, None] > cumulative[state]).sum(axis=1)
    return list(walked.T)


def ornstein_uhlenbeck(rate, frames, runs, seed=0, sd=1.0):
    """Runs with autocorrelation exp(-rate k) and standard deviation sd."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-rate)
    x = rng.normal(0, sd, runs)
    walked = np.empty((frames, runs))
    for k in range(frames):
        walked[k] = x
        x = keep * x + sd * np.sqrt(1 - keep**2) * rng.normal(size=runs)
    return list(walked.T)


def passage_time(matrix, start, end):
    """Mean first-passage time of a chain, by its linear equations."""
    others = [k for k in range(len(matrix)) if k != end]
    times = np.linalg.solve(np.eye(len(others)) - matrix[np.ix_(others, others)], np.ones(2))
    return times[others.index(start)]
