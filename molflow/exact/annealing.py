"""Annealed importance sampling from a Gaussian to a law that it touches (Neal 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.errors import MolflowError
from molflow.exact.laplace import Laplace, Potential


@dataclass(frozen=True)
class Schedule:
    """How the annealing goes.

    Attributes
    ----------
    chains : int
        Independent runs.
    temperatures : int
        Laws from the Gaussian to the target, both counted.
    leapfrog : int
        Steps of a trajectory of Hamiltonian dynamics, one trajectory at each law.
    length : float
        Of a leapfrog step in coordinates in which the law is nearly standard normal.

    Raises
    ------
    MolflowError
        If there are no chains, no steps, fewer laws than these two, or steps of no length.
    """

    chains: int = 8
    temperatures: int = 12
    leapfrog: int = 3
    length: float = 0.45

    def __post_init__(self) -> None:
        for name, least in (("chains", 1), ("temperatures", 2), ("leapfrog", 1)):
            if getattr(self, name) < least:
                raise MolflowError(f"{name} is {getattr(self, name)}: give {least} or more.")
        if not 0.0 < self.length < np.inf:
            raise MolflowError(f"length is {self.length}: give a positive number.")


@dataclass(frozen=True)
class Annealed:
    """An unbiased estimate of ∫ exp(-potential), and a point drawn along with it.

    Attributes
    ----------
    log_integral : float
        ln Ẑ, E Ẑ = Z; minus infinity if no chain reached the law.
    point : ndarray, (d,)
        A chain's end, drawn by the chains' weights: with the weight Ẑ it represents the law.
    log_weights : ndarray, (chains,)
        ln of every chain's share of Ẑ, up to their number.
    acceptance : float
        Share of trajectories accepted.
    calls : int
        Evaluations of the potential.
    """

    log_integral: float
    point: np.ndarray
    log_weights: np.ndarray
    acceptance: float
    calls: int


def anneal(
    potential: Potential,
    base: Laplace,
    schedule: Schedule,
    rng: np.random.Generator,
    end: np.ndarray | None = None,
) -> Annealed:
    r"""Estimate Z = ∫ exp(−E(x)) dx.

    In ξ = L⁻¹(x − mode) the laws are p_β ∝ exp(−(1 − β)|ξ|²/2 − β E). A chain starts from
    p_0 = N(0, 1), is moved at every β by one trajectory of Hamiltonian dynamics with the
    Metropolis test, which leaves p_β as it is, and collects

        ln w = Σ_k (β_{k+1} − β_k) (|ξ_k|²/2 − E(ξ_k)),

    ξ_k being its place before β_{k+1}. The mean of w over chains times (2π)^(d/2) |det L| is
    unbiased whatever the trajectories do.

    With an `end` the estimate is that of the extended target instead: the first chain is the one
    that ended there, run back through the same laws (every trajectory is reversible for its own),
    and the others are fresh. If `end` is of the law, such estimates have the density Ẑ/Z relative
    to those without it: they are not unbiased, and are not meant to be.

    Parameters
    ----------
    potential : callable
        E and its gradient; E may be infinite where the law has no mass.
    base : Laplace
    schedule : Schedule
    rng : numpy.random.Generator
    end : ndarray, (d,), optional
        A point of the law, which is returned as it is.
    """
    size = len(base.mode)
    ladder = np.linspace(0.0, 1.0, schedule.temperatures)
    calls = accepted = tried = 0

    def energy(xi):
        nonlocal calls
        calls += 1
        value, gradient = potential(base.mode + base.factor @ xi)
        return value - base.height, base.factor.T @ gradient

    def moved(place, beta):
        nonlocal tried, accepted
        tried += 1
        new = _trajectory(energy, place[0], place[1], place[2], beta, schedule, rng)
        accepted += new is not None
        return place if new is None else new

    def part(place, low, high):
        return (high - low) * (0.5 * place[0] @ place[0] - place[1])

    steps = list(zip(ladder[:-1], ladder[1:], strict=True))

    def forwards():
        xi = rng.normal(size=size)
        place = (xi, *energy(xi))
        log_weight = 0.0
        for low, high in steps:
            log_weight += part(place, low, high)
            if not np.isfinite(log_weight):
                return xi, -np.inf
            place = moved(place, high)
        return place[0], log_weight

    def backwards(xi):
        place = (xi, *energy(xi))
        log_weight = 0.0
        for low, high in reversed(steps):
            place = moved(place, high)
            log_weight += part(place, low, high)
        return xi, log_weight

    runs = [] if end is None else [backwards(np.linalg.solve(base.factor, end - base.mode))]
    runs += [forwards() for _ in range(schedule.chains - len(runs))]
    log_weights = np.array([log_weight for _, log_weight in runs])
    chosen, log_mean = _choose(log_weights, rng)
    return Annealed(
        log_integral=float(log_mean - base.height + base.log_volume),
        point=base.mode + base.factor @ runs[chosen][0] if end is None else end,
        log_weights=log_weights,
        acceptance=accepted / max(tried, 1),
        calls=calls,
    )


def _trajectory(energy, xi, value, gradient, beta, schedule, rng):
    """Return the new place with its energy and gradient, or None if it is rejected."""

    def force(place, slope):
        return -(1.0 - beta) * place - beta * slope

    h = schedule.length
    momentum = rng.normal(size=len(xi))
    before = 0.5 * (1.0 - beta) * xi @ xi + beta * value + 0.5 * momentum @ momentum
    new, new_value, slope = xi, value, gradient
    for _ in range(schedule.leapfrog):
        momentum = momentum + 0.5 * h * force(new, slope)
        new = new + h * momentum
        new_value, slope = energy(new)
        if not (np.isfinite(new_value) and np.isfinite(slope).all()):
            return None
        momentum = momentum + 0.5 * h * force(new, slope)
    after = 0.5 * (1.0 - beta) * new @ new + beta * new_value + 0.5 * momentum @ momentum
    if np.log(rng.random()) < before - after:
        return new, new_value, slope
    return None


def _choose(log_weights: np.ndarray, rng: np.random.Generator) -> tuple[int, float]:
    """Return a chain drawn by weight, and the logarithm of the mean weight."""
    top = log_weights.max()
    if top == -np.inf:
        return 0, -np.inf
    weights = np.exp(log_weights - top)
    chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
    return chosen, float(top + np.log(weights.mean()))
